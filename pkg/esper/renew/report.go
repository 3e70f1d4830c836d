package renew

import (
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
func (s *Source) Status() Status {
	return s.statusOf(s.look())
}

func (s *Source) statusOf(v view) Status {
	st := v.state
	if st.Lost {
		v.failed = s.lost(v)
	}
	return Status{
		IssuedAt: st.Doc.IssuedAt, ExpiresAt: st.End, RenewedAt: st.Doc.RenewedAt, AcceptedAt: v.accepted, WorkedAt: v.worked,
		NextAttempt: plain(st.NextAttempt()), Saved: st.Saved(), Lost: st.Lost, InDoubt: st.InDoubt(), Refused: !st.Doc.RefusedAt.IsZero(),
		Serial: st.Doc.Serial, LastError: v.failed,
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

// event is a change that is reported to the logger and to WithOnChange.
type event struct {
	kind          EventKind
	before, after policy.State
	err           error
	failed        bool
	accepted      time.Time
}

// kindOf returns what kind of change a turn brought; "" if nothing changed. The errors are those of the turn before
// and of this turn.
func kindOf(before, after policy.State, was, is error, failed bool) EventKind {
	switch {
	case after.Doc.Replaced(before.Doc.Key):
		return Renewed
	case after.Doc.Key != before.Doc.Key:
		return Adopted
	case after.Lost && !before.Lost:
		return Lost
	case failed:
		return Failed
	case !after.Lost && is == nil && (before.Lost || was != nil):
		return Recovered
	}
	return ""
}

// remember keeps e for report. It drops a failure that happens while another failure is being reported: the
// logger or the function of WithOnChange may have caused it, and would cause one more at each report, for
// ever. The caller holds mu.
func (s *Source) remember(e event) {
	if e.kind != "" && (e.kind != Failed || !s.tellsFailure) {
		s.events = append(s.events, e)
	}
}

// report tells the logger and the function of WithOnChange what has happened, one event at a time and in
// order. It runs outside of turns, so that both may use the source.
func (s *Source) report() {
	for {
		s.mu.Lock()
		if s.tells || len(s.events) == 0 {
			s.mu.Unlock()
			return
		}
		e := s.events[0]
		s.events, s.tells, s.tellsFailure = s.events[1:], true, e.kind == Failed
		s.mu.Unlock()
		s.tell(e)
		s.mu.Lock()
		s.tells, s.tellsFailure = false, false
		s.mu.Unlock()
	}
}

func (s *Source) tell(e event) {
	status := s.statusOf(view{state: e.after, failed: e.err, accepted: e.accepted})
	if e.kind == Renewed || e.kind == Adopted {
		what := "the Esper API key was renewed"
		switch {
		case e.kind == Adopted:
			what = "another Esper API key was taken into use"
		case !e.after.Saved() && !s.readOnly:
			what = "the Esper API key was renewed, and the new one cannot be saved"
		}
		s.logger.Info(what, slog.Time("expires", status.ExpiresAt), slog.Bool("saved", status.Saved), slog.Int("serial", status.Serial))
	}
	if e.failed {
		s.logger.Error("the Esper API key could not be renewed, saved or checked", slog.Any("error", status.LastError),
			slog.Time("expires", status.ExpiresAt), slog.Time("next_attempt", status.NextAttempt))
	}
	if e.kind == Recovered {
		s.logger.Info("the Esper API key works again", slog.Time("expires", status.ExpiresAt))
	}
	if s.onChange != nil {
		s.onChange(Event{e.kind, status})
	}
}

// why returns the error of a turn that failed although none of its actions failed.
func (s *Source) why(state policy.State, now time.Time) error {
	switch {
	case state.Lost:
		return ErrKeyLost
	case state.AttemptLength(now) == 0:
		return errors.New("renew: too little is left of the key to begin a renewal: one without an answer could not be told from a lost key")
	}
	return errors.New("renew: the renewal was not begun, since it could not be noted in the store")
}

func (s *Source) underWay(state policy.State) error {
	return fmt.Errorf("renew: a renewal%s may be under way; the next waits for its end", byWhom(state.Doc.Attempt))
}

func byWhom(a policy.Attempt) string {
	if a.ID == "" {
		return ""
	}
	return fmt.Sprintf(" begun at %s by process %d on %s", stamp(a.Begun), a.PID, a.Host)
}

// lost returns ErrKeyLost with what is known about the loss.
func (s *Source) lost(v view) error {
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
	err := v.failed
	if err == nil || errors.Is(err, ErrKeyLost) {
		err = esper.ErrUnauthorized
	}
	return fmt.Errorf("%w: %s; make a new key in the Esper Console and adopt it (Source.Adopt, esper-key adopt): %w", ErrKeyLost, about, err)
}
