// Package renew keeps an Esper API key alive: it renews the key before it ends, stores the new one
// before anything else, and shares it between the processes that use it. Esper does not renew keys
// by itself, and a key that was replaced may stop working at once.
//
//	source, err := renew.Open(ctx, "foo", renew.File("/var/lib/app/esper/key.json"), renew.WithInitialToken(key))
//	client, err := esper.New("foo", source)
//
// The initial key is used while the store is empty; afterwards the stored one counts. A program
// that runs for long starts [Source.Run]; other Esper endpoints are reached through
// [Source.Transport].
//
// Do not wrap a Source in oauth2.NewClient or oauth2.ReuseTokenSource. Both keep a key until it
// expires, so they go on sending one that has been replaced meanwhile.
//
// # When
//
// The end of a key is what the renewal's answer says, or else TokenInfo, or else seven days are
// assumed. Two windows lie before it:
//
//   - Advisory: the last fifth of the lifetime, but at least 24 hours where the lifetime allows
//     (half of it is the most), or [WithRenewBefore]; up to a quarter more at random. The key is
//     served as before, without delay, while one renewal runs in the background. A failure keeps
//     the key; it is tried again after 30 s at first, one hour at most, with jitter, or when the
//     server's Retry-After says.
//   - Mandatory: the last five minutes, or the last twentieth if that is less, and the time after
//     the end. Callers wait for the renewal, each no longer than its own context.
//
// # Between processes
//
// All that use one [Store] make one renewal: each takes the store's lock, reads the document again,
// and renews only if that is still due. The others take the stored key into use. They look at the
// store once a minute, from Run or with a call; Transport looks at once when a request gets 401.
// Until then a process sends the old key, which the server may refuse: a caller of the esper client
// without Transport sees [esper.ErrUnauthorized] for that long at most. Nobody replaces a document
// whose key is not the one that was renewed, unless the server refuses that key.
//
// # States
//
// What is on disk is one document: a key, its times, and during a renewal the attempt (the journal).
//
//	         due, lock held                       201, key read
//	+-------+  note attempt   +-----------+  POST  +------------+  save   +-------+
//	| valid | --------------> | attempted | -----> | new key in | ------> | valid |
//	+-------+                 +-----------+        |   memory   |         | (new) |
//	    ^                       |       |          +------------+         +-------+
//	    | not renewed (4xx,     |       | outcome unknown, or 2xx           ^  |
//	    | no connection)        |       | without a readable key            |  | cannot save
//	    +-----------------------+       v                                   |  v
//	    |                          +----------+                           +---------+
//	    | the old key works,       | in doubt |                           | unsaved |
//	    | after a pause of         +----------+                           +---------+
//	    | 10 min and a new check     |      |  TokenInfo: 401
//	    +----------------------------+      v
//	              TokenInfo: 200         +------+  another key in the store
//	                                     | lost | ------------------------> valid
//	                                     +------+
//
//	state              on disk                      a crash there leads to
//	valid              key                          valid
//	attempted          old key, attempt             in doubt
//	new key in memory  old key, attempt             in doubt, so lost if the old key has stopped
//	                                                working, unless File finds the new key in a
//	                                                temporary file
//	valid (new)        new key                      valid
//	unsaved            old key, mostly its attempt  as new key in memory; until then the process
//	                                                uses the new key and goes on trying to save it
//	in doubt           old key, attempt, perhaps    in doubt
//	                   the answer that was not read
//	lost               as in doubt                  lost again, after one TokenInfo
//
// In doubt, TokenInfo is asked with the old key at once, and again before the next renewal, which
// waits until the first cannot be under way any more. [ErrKeyLost] is final: nothing more is sent.
// A document with another key in the store ends it.
//
// If the attempt cannot be noted, there is no renewal while the key is valid; in the mandatory
// window it is made all the same.
//
// # What is not promised
//
//   - Without Run and without calls nothing is renewed.
//   - Without the store's lock nothing is renewed, even in the mandatory window.
//   - A lease that ends while its holder still works lets two renewals happen. Both keys are
//     compared before one is stored, but the server may have ended the one that wins.
//   - If the server replaces the key and the answer never arrives, the key is lost. No client can
//     prevent that.
//   - [Memory] ends with the process, and so does a key renewed in it.
//   - A clock that is behind by more than the advisory window sees the end of a key too late.
package renew
