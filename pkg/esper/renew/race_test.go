//go:build race

package renew

const raceEnabled = true // everything is ten times as slow
