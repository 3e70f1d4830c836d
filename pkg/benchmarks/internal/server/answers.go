package server

import (
	"fmt"
	"time"
)

// Key is the key of all clients.
const Key = "example-key-for-benchmarks"

// EnterpriseID and DeveloperAppID are of Key's owner.
const (
	EnterpriseID   = "f44373cb-1800-43c6-aab3-c81f8b1f435c"
	DeveloperAppID = "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"
)

// The answers of the real server, which every client gets to the byte.
const (
	Info = `{"id":"570","enterprise":"` + EnterpriseID + `","user":"bindya",` +
		`"developer_app":"` + DeveloperAppID + `","source_refresh_token":null,"token":"` + Key + `",` +
		`"expires_on":"2019-11-19T15:42:16.637203Z","scope":["read","write","update","introspection","sdk","register"],` +
		`"created_on":"2019-11-18T15:42:16.637203Z","updated_on":"2019-11-18T15:42:16.637203Z"}`
	Renewal = `{"id":571,"user":"bindya","enterprise":"Esper [` + EnterpriseID + `]",` +
		`"developerapp":"DeveloperApp object (` + DeveloperAppID + `)","token":"example-new-key-for-benchmarks",` +
		`"expires_at":"2023-07-03T04:29:53.906020Z","scope":"read write update introspection sdk register",` +
		`"created_on":"2023-04-04T04:29:53.906020Z","updated_on":"2023-04-04T04:29:53.906020Z"}`
	Denied = `{"errors":["Authentication credentials were not provided."],` +
		`"message":"Authorization information is missing or invalid.","status":401}`
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
		EnterpriseID, DeveloperAppID, key, end.Format(time.RFC3339Nano), end.Add(-lifetime).Format(time.RFC3339Nano))
}

func newKey(key string, now time.Time) string {
	return fmt.Sprintf(`{"id":571,"token":"%s","expires_at":"%s","created_on":"%s"}`,
		key, now.Add(lifetime).UTC().Format(time.RFC3339Nano), now.UTC().Format(time.RFC3339Nano))
}
