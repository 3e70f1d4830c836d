//go:build race

package renew

const raceEnabled = true // tests run about ten times slower
