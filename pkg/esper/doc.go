// Package esper is a client for the token endpoints of the Esper device-management API: it tells
// what an API key is and when it ends, and exchanges a key for a new one without losing it.
//
//	client, err := esper.New("foo", esper.APIKey(os.Getenv("ESPER_API_KEY")))
//	info, err := client.TokenInfo(ctx)
//	renewed, err := client.RenewToken(ctx, esper.RenewRequest{
//		EnterpriseID:   info.Enterprise.ID,
//		DeveloperAppID: info.DeveloperApp.ID,
//	})
//
// # Errors
//
// An answer that is not 2xx is an [*APIError]; errors.Is tells its kind ([ErrUnauthorized],
// [ErrRateLimited], …). A failed [Client.RenewToken] is a [*RenewalError], whose Outcome says
// whether the old key can still be counted on. Bad arguments are [ErrInvalidArgument], before
// anything is sent.
//
// # Secrets
//
// A key joins a request below all code that logs, traces, retries or builds errors, so no error text, log
// record, trace or middleware has seen one. Keys are [Secret] values, which print as a placeholder. The
// Body of an error may hold a key: it is there for a program to read, and printing the error does not
// show it.
//
// # Deprecation
//
// Esper says that both endpoints "will soon be deprecated", and points to the Esper Console. They still work. What
// comes after them in Esper's API, personal access tokens, is not supported yet.
package esper
