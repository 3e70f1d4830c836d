// Package esper is a client for the token endpoints of the Esper device-management API. It reads what the server knows
// of an API key, such as when the key expires, and exchanges a key for a new one without losing it.
//
//	client, err := esper.New("foo", esper.APIKey(os.Getenv("ESPER_API_KEY")))
//	if err != nil {
//		return err
//	}
//	info, err := client.TokenInfo(ctx)
//
// [Client.RenewToken] exchanges the key for a new one. The answer is the only copy of the new key: its example shows
// how a program keeps it, also if the program has to end meanwhile. Package renew does that, and more, by itself.
//
// # Errors
//
// An answer that is not 2xx is an [*APIError]; errors.Is tells its kind ([ErrUnauthorized], [ErrRateLimited], …). A
// 401 or 403 that something in front of Esper answered is [ErrGateway], and says nothing about the key. A failed
// [Client.RenewToken] returns a [*RenewalError], whose Outcome says whether the server may have replaced the old key. A
// bad argument gives [ErrInvalidArgument], and nothing is sent.
//
// # Secrets
//
// No middleware, log record, trace or error text shows a key: the key is added to a request after all middleware, a
// server's text that repeats the key is replaced by a note, and what else may be a key in it becomes "…". Keys are
// [Secret] values, which print as a placeholder. The Body of an error may hold a key: a program can read Body, but
// printing the error does not show it.
//
// # Deprecation
//
// Esper says that both endpoints "will soon be deprecated", and points to the Esper Console. They still work. Their
// successor in Esper's API is personal access tokens, an experiment in this package: see [PersonalAccessToken].
package esper
