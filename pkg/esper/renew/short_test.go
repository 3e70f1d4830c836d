package renew_test

import "testing"

// notShort skips what takes long, for the loop of a developer. CI never asks for that.
func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it takes long")
	}
}
