package renew

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

// Status is what a health check or a metric needs to know. It holds no secret.
type Status struct {
	IssuedAt    time.Time // when the key in use was made
	ExpiresAt   time.Time // when it ends, or is assumed to
	RenewedAt   time.Time // when the key in use was made by a renewal; zero if a person gave it
	AcceptedAt  time.Time // when the server last accepted a key or made one, in this process; zero: never
	WorkedAt    time.Time // when this process last did what was due, with or without success; with Run, every minute
	NextAttempt time.Time // the earliest time at which the next renewal may begin
	Saved       bool      // the store holds the key in use; if not, the key is lost when the process ends
	Lost        bool      // the server refuses the key, and the store has no other; see ErrKeyLost
	InDoubt     bool      // the outcome of a renewal is unknown, and the server has not accepted the key since
	Serial      int       // how often the key was renewed since a person gave it, plus one
	Refused     bool      // the server refused the key when it was last asked about it, by any process
	LastError   error     // why the last renewal, check, read or save failed; nil if all is well
}

// Status returns the state of the key. It neither waits nor sends anything.
func (s *Source) Status() Status { return s.statusOf(s.now.Load()) }

func (s *Source) statusOf(v *snapshot) Status {
	st, failed := v.state, v.failed
	if st.Lost() {
		failed = s.lost(v)
	}
	return Status{
		IssuedAt: st.Doc.IssuedAt, ExpiresAt: endOf(st), RenewedAt: st.Doc.RenewedAt, AcceptedAt: v.accepted, WorkedAt: v.worked,
		NextAttempt: plain(st.NextAttempt()), Saved: st.Saved(), Lost: st.Lost(), InDoubt: st.InDoubt(),
		Refused: !st.Doc.RefusedAt.IsZero(), Serial: st.Doc.Serial, LastError: failed,
	}
}

// Event is a change that the function of [WithOnChange] is told of. It holds no secret.
type Event struct {
	Kind   EventKind
	Status Status // right after the change
}

// EventKind says what happened. Of one change, the function of [WithOnChange] is told the first kind that applies.
type EventKind string

// The kinds of an [Event].
const (
	// Renewed: a key that a renewal made, by this process or another one, replaced the key in use. If Status.Saved is
	// false, the new key could not be saved so far, and is lost if the process ends.
	Renewed EventKind = "renewed"
	// Adopted: another key, which a person gave, replaced the key in use.
	Adopted EventKind = "adopted"
	// Lost: the key in use is lost, see [ErrKeyLost].
	Lost EventKind = "lost"
	// Failed: something that was due failed: a renewal, a save, a read of the store, or a check of the key.
	// Status.LastError says why. The source tries again.
	Failed EventKind = "failed"
	// Recovered: after Lost or Failed, all is well with the same key.
	Recovered EventKind = "recovered"
)

// report logs what a turn has changed, and tells the function of WithOnChange.
func (s *Source) report(before, after *snapshot, failed bool) {
	var kind EventKind
	was, is, status := before.state, after.state, s.statusOf(after)
	ends := slog.Time("expires", status.ExpiresAt)
	switch {
	case is.Doc.Replaced(was.Doc.Key):
		kind = Renewed
		s.log(slog.LevelInfo, "the Esper API key was renewed", ends, slog.Bool("saved", status.Saved), slog.Int("serial", status.Serial))
	case is.Doc.Key != was.Doc.Key:
		kind = Adopted
		s.log(slog.LevelInfo, "another Esper API key was taken into use", ends, slog.Int("serial", status.Serial))
	case is.Lost() && !was.Lost():
		kind = Lost
	case failed:
		kind = Failed
	case !is.Lost() && after.failed == nil && (was.Lost() || before.failed != nil):
		kind = Recovered
		s.log(slog.LevelInfo, "the Esper API key works again", ends)
	default:
		return
	}
	if failed || kind == Lost {
		s.log(slog.LevelError, "the Esper API key could not be renewed, saved or checked",
			slog.Any("error", status.LastError), ends, slog.Time("next_attempt", status.NextAttempt))
	}
	if s.onChange != nil {
		s.tell.add(told{func() { s.onChange(Event{kind, status}) }, kind})
	}
}

// log has a record logged, without waiting for that.
func (s *Source) log(level slog.Level, message string, attrs ...slog.Attr) {
	s.tell.record(func() { s.logger.LogAttrs(context.Background(), level, message, attrs...) })
}

// why returns the error of a turn that failed although none of its actions failed.
func why(state policy.State, now time.Time) error {
	if state.InDoubt() && !state.Busy(now) {
		return errors.New("renew: the outcome of a renewal is unknown, and the server was not asked about the key since")
	}
	return errors.New("renew: too little is left of the key to begin a renewal: one without an answer could not be told from a lost key")
}

func byWhom(a policy.Attempt) string {
	if a.ID == "" {
		return ""
	}
	return fmt.Sprintf(" begun at %s by process %d on %s", stamp(a.Begun), a.PID, a.Host)
}

// lost returns ErrKeyLost with what is known about the loss.
func (s *Source) lost(v *snapshot) error {
	d := v.state.Doc
	about := fmt.Sprintf("the server refused it first at %s, and again later, and %s has no other", stamp(d.RefusedAt), s.storeName())
	switch {
	case !d.Answer.IsZero():
		about += "; an answer to its renewal, which may hold its successor, is kept there"
	case d.Attempt.ID != "":
		about += "; a renewal of it," + byWhom(d.Attempt) + ", got no answer"
	case !time.Now().Before(v.state.End):
		about += "; it ended at " + stamp(v.state.End)
	default:
		about += "; perhaps it was revoked, or another machine renewed it and keeps the new key in a store of its own"
	}
	lost, err := fmt.Errorf("%w: %s; make a new key in the Esper Console and adopt it (Source.Adopt, esper-key adopt)", ErrKeyLost, about), v.failed
	refused, store := errors.Is(err, esper.ErrUnauthorized) || errors.Is(err, esper.ErrForbidden), (*worded)(nil)
	if err == nil || refused && !errors.As(err, &store) { // the text has said so
		return &worded{lost.Error(), errors.Join(lost, cmp.Or(err, esper.ErrUnauthorized))}
	}
	return fmt.Errorf("%w: %w", lost, err)
}
