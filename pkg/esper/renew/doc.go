// Package renew keeps an Esper API key alive. It renews the key before the key ends, saves the new key before
// callers get it, and shares it between the processes and machines that use it. Esper does not renew keys by
// itself, and a key that was replaced may stop working at once.
//
// # A daemon
//
// Run renews the key in the background. When its context ends, it finishes a renewal that has begun, and Close waits
// for that:
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop()
//	source, err := renew.Open(ctx, "foo", renew.File("/var/lib/myapp/esper-key.json"),
//		renew.WithInitialToken(esper.NewSecret(os.Getenv("ESPER_API_KEY")))) // used while the file is empty
//	if err != nil {
//		return err
//	}
//	defer source.Close()
//	go source.Run(ctx)
//	client := source.Client() // or an http.Client with source.Transport, for any endpoint
//
// Give the unit or the pod 120 seconds to stop (TimeoutStopSec, terminationGracePeriodSeconds).
//
// # A job
//
// A job that makes calls and exits needs no Run. When the key is due, the job's first call renews the key and
// waits for the new one. A job that makes no call, from cron for example, calls RenewIfDue. A signal ends ctx here too:
//
//	source, err := renew.Open(ctx, "foo", renew.File("/var/lib/myapp/esper-key.json"))
//	if err != nil {
//		return err
//	}
//	defer source.Close()
//	return source.RenewIfDue(ctx)
//
// Such a job has to run more often than the advisory window is long (see below): 18 days for a 90-day key.
//
// # Several machines
//
// Machines that use one key share one store: a database (package sqlstore), a Kubernetes Secret (package
// kubestore), or a [Store] of your own, which package storetest checks. If two machines keep one key in a file
// each, the first renewal on one machine ends the key of the other, and reports no error. A program that cannot
// write to the store uses [ReadOnly]. STORES.md beside the code says how the stores were tested, and what they cost.
//
// # A key that is lost, leaked or revoked
//
//   - Lost ([ErrKeyLost]), or revoked by mistake: make a new key in the Esper Console and give it to [Source.Adopt], in
//     any process that shares the store. The other processes take it over within a minute, without a restart.
//   - Leaked: [Source.Renew] replaces the key now.
//
// # Guarantees
//
//   - A new key is saved before callers get it. If saves fail for more than a minute, callers get it from memory,
//     the source goes on trying to save it, and [ErrNotSaved] says so.
//   - After a renewal that may have reached the server, no process sends another one until a process has asked the
//     server whether the old key still works.
//   - Of all processes that share a store, one renews the key. It notes the renewal in the store before it sends
//     it, and the others send none while the note is there. There is no lock.
//   - A key that renewals have replaced never replaces the newer one, whether its document comes from a backup, a
//     delayed save or a stale read; it does only if a person adopts it, and the server refuses the newer one. Any other
//     stored key that no renewal has made from the key in use replaces it only after the server has accepted it. That
//     may also be the key from before an Adopt, put back from a backup, as long as it works: revoke a key that is replaced.
//   - No key that may work is destroyed, but by Adopt, which replaces what is stored. A stored key that no renewal has
//     made from the key in use is overwritten only if the only copy of the new key is in memory, or if the server has
//     just accepted the key in use. It then stays in the document (set_aside) until the server has refused it twice, a
//     minute apart, while it accepted the key in use. Of two that the server accepts, the one that ends later is used,
//     and the other one stays set aside.
//   - A source gives its key up only if Esper itself, not a gateway in front of it, refused the key twice, at least a
//     minute apart, and the store could be read and has no other. A key whose only copy is in memory is never given up.
//     Every process then knows it (lost_at). They ask the server at least every five minutes, and use any key that works.
//   - An answer to a renewal from which no key can be read is saved like a key, up to 64 KiB of it.
//   - Each call of the store ends after 15 seconds at most, also if the store ignores its context, and a call that hangs
//     is waited for once more for as long. Nothing that renews or saves waits for a log handler or for WithOnChange.
//
// # When a key is renewed
//
// A key ends when the answer to its renewal says so, or else when TokenInfo says so. If neither says when, the
// source assumes that the key lives for seven days; if TokenInfo says so in an unknown form, for one more day.
//
// Two windows lie before the end. In the advisory window, the key is renewed while callers go on using it. This
// window is the last fifth of the lifetime, or 24 hours if that is longer, or what [WithRenewBefore] says, but half
// of the lifetime at most. Up to a quarter more is added at random: a 90-day key is renewed 18 to 22.5 days before it
// ends. In the mandatory window, callers wait for the renewal. This window is the last five minutes, or the last
// twentieth of the lifetime if that is shorter.
//
// After a failure, the source pauses for about 30 seconds, and twice as long after each further failure, up to an
// hour (after 403, a day). A pause takes no more than a quarter of what is left of the key, and no more than a
// twentieth of its lifetime. Only the server's Retry-After can make it longer, up to an hour. An attempt to renew
// takes 90 seconds at most, a quarter of what is left of the key at most, and a twentieth of its lifetime at most,
// but at least ten seconds. If less than 40 seconds are left of the key, no attempt begins.
//
// # What is not promised
//
//   - Without Run and without calls nothing is renewed.
//   - If the server replaces the key and the answer never arrives, the key is lost. No client can prevent that.
//   - A program that is killed, has no handler for SIGTERM, or ends without Close while a renewal is under way, may
//     lose the answer, and with it the key.
//   - If the store cannot be written in the last minutes of a key, each process that has seen the store work before
//     renews the key for itself. The first of these renewals ends the key that the other processes use.
//   - A process that is stopped (SIGSTOP, a suspended machine) for longer than an attempt, between its last look
//     at the clock and the sending, may send a second renewal.
//   - If somebody restores a document from a backup while a renewal is under way, the note of that renewal is gone.
//   - A process whose clock is behind by more than the advisory window renews too late.
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
//	expires_at          when the key ends (RFC 3339); missing if the server did not say
//	issued_at           when the key was made, as the server says
//	renewed_at          when a renewal made the key; missing for a key that a person gave
//	enterprise_id       the UUID of the enterprise that owns the key
//	developer_app_id    the UUID of the developer app that the key was issued to
//	lineage             random, new with each key that a person gives
//	serial              1 for a key that a person gives, one more with each renewal
//	initial_key_hash    a short hash of the key that a person gave
//	predecessor_hashes  short hashes of the keys that led to this one, the newest first, 32 at most
//	refused_at          when the server first refused the key; missing if it accepted the key at the last check
//	lost_at             when the key was given up; missing if it is not lost
//	set_aside           other keys that this document replaced and that may work, the newest first: secrets
//	attempt             a renewal that was begun: id, host, pid, begun_at, until
//	answer              an answer to a renewal from which no key could be read, 64 KiB at most: a secret, for a person
//	answer_base64       the same in base64, if it is not plain text
//	saved_at, saved_by  when and by which host the document was saved
//
// A short hash is the first eight bytes, in hex, of the SHA-256 of "esper key " and the key.
//
// The states of a key, and what a crash in each leads to, are in DESIGN.md beside the code.
package renew
