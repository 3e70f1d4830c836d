package renew_test

import "testing"

// notShort skips a test that takes long under go test -short, which a developer may use, and CI does not.
func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it takes long")
	}
}
