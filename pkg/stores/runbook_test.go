//go:build linux && slow

package stores

import (
	"os"
	"os/exec"
	"testing"
)

// TestRunbook pastes the runbook of esper-key in a fresh root, as the service's user, with a store in each engine.
func TestRunbook(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-tags", "slow", "-timeout", "25m", "-run", "^TestPackage$/^(postgres|mysql|kubernetes)$", ".")
	cmd.Dir = "../cmd/esper-key"
	cmd.Env = append(os.Environ(), kubeconfig(t, get(t, "Kubernetes"), "admin"),
		"ESPER_TEST_STORES=postgres postgres://esper@"+get(t, "PostgreSQL").listens+"/postgres?sslmode=disable&name=NAME\n"+
			"mysql mysql://secretive:a%20word@"+get(t, "MariaDB").listens+"/mysql?name=NAME\n"+
			"kubernetes kubernetes://fleet/NAME")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
