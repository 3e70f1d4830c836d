package server

import (
	"fmt"
	"time"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/answers"
)

const (
	day      = 24 * time.Hour
	lifetime = 90 * day
	// lastMinute is inside the last minutes of a key's life, when a renewing source makes its callers wait.
	lastMinute = time.Minute
)

// dueInfo is about a key that is to be renewed now, or with due false not for a long time.
func dueInfo(key string, due bool, now time.Time) string {
	left := lifetime
	if due {
		left = lastMinute
	}
	end := now.Add(left).UTC()
	return fmt.Sprintf(`{"id":"570","enterprise":"%s","developer_app":"%s","token":"%s","expires_on":"%s","created_on":"%s"}`,
		answers.EnterpriseID, answers.DeveloperAppID, key, end.Format(time.RFC3339Nano), end.Add(-lifetime).Format(time.RFC3339Nano))
}

func newKey(key string, now time.Time) string {
	return fmt.Sprintf(`{"id":571,"token":"%s","expires_at":"%s","created_on":"%s"}`,
		key, now.Add(lifetime).UTC().Format(time.RFC3339Nano), now.UTC().Format(time.RFC3339Nano))
}
