// Package answers holds what the server and the clients send. It has only constants, so that a
// program whose memory is measured needs nothing else of the benchmarks.
package answers

// Key is the key of all clients.
const Key = "example-key-for-benchmarks"

// EnterpriseID and DeveloperAppID identify the owner of Key.
const (
	EnterpriseID   = "f44373cb-1800-43c6-aab3-c81f8b1f435c"
	DeveloperAppID = "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"
)

// The answers, byte for byte. They have the form of those of the real server.
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
