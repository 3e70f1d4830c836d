package server

import (
	"fmt"
	"time"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/answers"
)

const lifetime = 90 * 24 * time.Hour

// keyInfo is the answer of TokenInfo for a key that was made now, and so is not due for a long time.
func keyInfo(key string, now time.Time) string {
	return fmt.Sprintf(`{"id":"570","enterprise":"%s","developer_app":"%s","token":"%s","expires_on":"%s","created_on":"%s"}`,
		answers.EnterpriseID, answers.DeveloperAppID, key, now.Add(lifetime).UTC().Format(time.RFC3339Nano), now.UTC().Format(time.RFC3339Nano))
}

func newKey(key string, now time.Time) string {
	return fmt.Sprintf(`{"id":571,"token":"%s","expires_at":"%s","created_on":"%s"}`,
		key, now.Add(lifetime).UTC().Format(time.RFC3339Nano), now.UTC().Format(time.RFC3339Nano))
}
