// Package renew keeps an Esper API key alive. It renews the key before it ends, saves the new one before
// anybody gets it, and shares it between the processes and machines that use it. Esper does not renew keys
// by itself, and a key that was replaced may stop working at once.
//
// # A daemon
//
// Run renews the key in the background, and finishes what it has begun when its context ends:
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop()
//	source, err := renew.Open(ctx, "foo", renew.File("/var/lib/myapp/esper-key.json"),
//		renew.WithInitialToken(esper.NewSecret(os.Getenv("ESPER_API_KEY")))) // used while the file is empty
//	if err != nil { … }
//	defer source.Close()
//	go source.Run(ctx)
//	client := source.Client() // or an http.Client with source.Transport, for any endpoint
//
// Give the unit or the pod 120 seconds to stop (TimeoutStopSec, terminationGracePeriodSeconds). A program
// without a handler for SIGTERM ends at once: a renewal that is under way then is lost, and perhaps the key.
//
// # A job
//
// A job that makes calls and exits needs no Run. When the key is due, its first call renews it, and waits
// for that. A job that makes no call, from cron for example, renews with RenewIfDue:
//
//	source, err := renew.Open(ctx, …)
//	if err != nil { … }
//	defer source.Close()
//	err = source.RenewIfDue(ctx)
//
// It has to run more often than the advisory window is long: 18 days for a key of 90.
//
// # Several machines
//
// Machines that use one key share one store: a database (package sqlstore), a Kubernetes Secret (package
// kubestore), or a [Store] of your own, which package storetest checks. Two machines with a file each
// end each other's key at the first renewal, without an error. A program that cannot write uses [ReadOnly]. STORES.md
// beside the code says what the stores were put through, and what they cost.
//
// # A key that is lost, leaked or revoked
//
//   - [ErrKeyLost]: make a new key in the Esper Console and give it to [Source.Adopt], in any process that
//     shares the store. The others take it over within a minute, without a restart.
//   - Leaked: [Source.Renew] replaces the key now.
//   - Revoked by mistake: as lost.
//
// # Guarantees
//
//   - A new key is in the store before anybody gets it. If it cannot be saved, it stays in use in memory, is
//     saved again and again, and [ErrNotSaved] says so.
//   - A renewal that may have reached the server is not sent again before the server was asked what came of it,
//     by this process or by another.
//   - Between all processes that share a store there is one renewal. It is noted in the store before it is sent,
//     and the note is what keeps the others from sending theirs. There is no lock.
//   - A valid key costs its callers no lock, no allocation and no wait, except that without Run one caller waits
//     for the renewal that it makes, ten seconds at most.
//   - An older document, from a backup, a save that was carried out late or a read that was stale, never
//     replaces a newer key. A key of another history does only once the server has accepted it.
//   - A key is given up only if the server refused it twice, at least a minute apart, and the store could be read
//     and has no other. That is a state, not an end: any key that works ends it.
//
// # When the old endpoint goes
//
// Esper has announced the end of the endpoint that renews a key. [WithPersonalAccessTokens] uses its successor, which is
// experimental; TOKENS.md beside the code says what changes, and how to try it.
//
// # When a key is renewed
//
// The end of a key is what the renewal's answer says, or else TokenInfo. If that does not tell, seven days are assumed, and
// one day if it tells in a form that cannot be read. Two
// windows lie before it. In the advisory window, the last fifth of the lifetime, but at least 24 hours where
// the lifetime allows (half of it is the most), or [WithRenewBefore], the key is renewed while callers go on
// using it; up to a quarter more is added at random. A 90-day key is renewed 18 to 22 days before it ends. In
// the mandatory window, the last five minutes, or the last twentieth if that is less, callers wait for the
// renewal.
//
// After a failure the next try waits 30 seconds, twice as long each time, up to an hour (after 403, a day), or
// what the server's Retry-After says, and never longer than a quarter of what is left of the key. An attempt
// without an answer is over after 90 seconds at most, after a quarter of what is left of the key, and after a
// twentieth of its lifetime; no pause is longer than that twentieth either. With less than ten seconds for an
// attempt, none is begun.
//
// # What is not promised
//
//   - Without Run and without calls nothing is renewed.
//   - If the server replaces the key and the answer never arrives, the key is lost. No client can prevent that.
//   - A program that is killed, or that ends without Close while a renewal is under way, may lose the answer.
//   - If the store cannot be written in the last minutes of a key, each process renews for itself, provided that
//     the store has worked once in its life. The first renewal ends the others' key.
//   - A process that is stopped (SIGSTOP, a suspended machine) for longer than an attempt, between its last look
//     at the clock and the sending, may send a second renewal.
//   - An attempt that is more than ten minutes old when a process starts is taken for over. Keep the clocks of
//     machines that share a store within ten minutes.
//   - A document that is put back from a backup while a renewal is under way takes the note of that with it.
//   - [Memory] ends with the process, and so does a key renewed in it.
//   - A clock that is behind by more than the advisory window sees the end of a key too late.
//
// # The document
//
// A store keeps one JSON document. Its format is public: other programs may read key and expires_at, and these
// fields keep their meaning. Programs must ignore fields that they do not know, and must not write to it.
//
//	format              "esper-go key"
//	version             2
//	server              the base URL that the key belongs to
//	key                 the key in use: a secret
//	expires_at          when it ends (RFC 3339); missing if the server did not say
//	issued_at           when it was made, by the server's word
//	renewed_at          when a renewal made it; missing for a key that a person gave
//	enterprise_id       the UUID of the enterprise that owns it
//	developer_app_id    the UUID of the developer app that it was issued to
//	lineage             random, new with each key that a person gives
//	serial              1 for that key, one more with each renewal
//	initial_key_hash    a short hash of that key
//	predecessor_hashes  short hashes of the keys that this one replaced, the newest first, 32 at most
//	refused_at          when the server refused the key first; missing if it accepted it last
//	attempt             a renewal that was begun: id, host, pid, begun_at, until
//	answer              the answer to a renewal that no key could be read from: a secret, for a person to look at
//	answer_base64       the same in base64, if it is not plain text
//	saved_at, saved_by  when and by which host the document was saved
//
// A short hash is the first eight bytes, in hex, of the SHA-256 of "esper key " and the key.
//
// The states of a key, and what a crash in each leads to, are in DESIGN.md beside the code.
package renew
