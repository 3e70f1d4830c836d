package policy

import (
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

// codec turns a world into bytes and back, so that millions of worlds fit into memory. The same methods write
// and read.
type codec struct {
	*config
	buf     []byte
	reading bool
	world   *world
	texts   *texts
}

// texts gives a number to each string of a run.
type texts struct {
	number map[string]byte
	all    []string
}

func (c *codec) byte(b *byte) {
	if c.reading {
		*b, c.buf = c.buf[0], c.buf[1:]
		return
	}
	c.buf = append(c.buf, *b)
}

func (c *codec) bools(bits ...*bool) {
	var b byte
	for i, bit := range bits {
		if *bit {
			b |= 1 << i
		}
	}
	c.byte(&b)
	for i, bit := range bits {
		*bit = b&(1<<i) != 0
	}
}

// small is for numbers from -128 to 127.
func small[T ~int | ~int8](c *codec, numbers ...*T) {
	for _, n := range numbers {
		b := byte(*n)
		c.byte(&b)
		*n = T(int8(b))
	}
}

func (c *codec) ints(numbers ...*int) {
	for _, n := range numbers {
		high, low := byte(uint16(int16(*n))>>8), byte(*n)
		c.byte(&high)
		c.byte(&low)
		*n = int(int16(uint16(high)<<8 | uint16(low)))
	}
}

func (c *codec) times(times ...*time.Time) {
	const none, far = -1 << 15, 1<<15 - 1
	for _, t := range times {
		n := none
		if !t.IsZero() {
			n = min(int(t.Unix()-start.Unix()), far) // after that, the end of a key that has ended by a wrong clock
		}
		c.ints(&n)
		switch {
		case !c.reading:
		case n == none:
			*t = time.Time{}
		case n == far:
			*t = start.Add(distant)
		default:
			*t = start.Add(time.Duration(n) * time.Second)
		}
	}
}

func (c *codec) strings(texts ...*string) {
	for _, s := range texts {
		n, known := c.texts.number[*s]
		if !known {
			n = byte(len(c.texts.all))
			if int(n) != len(c.texts.all) {
				panic("too many texts")
			}
			c.texts.number[*s] = n
			c.texts.all = append(c.texts.all, *s)
		}
		c.byte(&n)
		*s = c.texts.all[n]
	}
}

func (c *codec) secrets(secrets ...*wire.Secret) {
	for _, s := range secrets {
		text := s.Reveal()
		c.strings(&text)
		*s = wire.NewSecret(text)
	}
}

func (c *codec) attempt(a *Attempt) {
	if c.strings(&a.ID); a.ID == "" {
		*a = Attempt{}
		return
	}
	c.times(&a.Begun, &a.Until)
}

func (c *codec) document(d *Document) {
	if c.secrets(&d.Key); d.Key.IsZero() {
		*d = Document{}
		return
	}
	if c.reading {
		*d = c.world.documentOf(keyOf(*d))
	}
	c.strings(&d.Lineage, &d.Predecessors, &d.Initial)
	small(c, &d.Serial)
	c.times(&d.RenewedAt, &d.RefusedAt, &d.LostAt)
	c.secrets(&d.Answer, &d.SetAside)
	c.attempt(&d.Attempt)
}

// state leaves out times that make no difference any more at now, the time of the process.
func (c *codec) state(s *State, now time.Time) {
	s.WindowMade = now
	if !c.reading && !now.Before(s.Retry) {
		s.Retry = time.Time{}
	}
	if !c.reading && s.Suspects(now) {
		s.Asked = time.Time{}
	}
	c.bools(&s.ReadOnly, &s.Proven, &s.Fresh)
	c.document(&s.Doc)
	c.document(&s.Stored)
	c.times(&s.AttemptOver, &s.RefusedWait, &s.AsideWait, &s.Asked, &s.Advisory, &s.End, &s.Retry)
	small(c, &s.Fails)
}

func (c *codec) turn(t *Turn) {
	c.bools(&t.Stop, &t.Force, &t.Read, &t.Failed)
	small(c, &t.Ask)
	small(c, &t.Said)
	small(c, &t.Saves, &t.Aside)
	c.document(&t.Given)
	c.document(&t.Other)
	c.attempt(&t.Begun)
}

func (c *codec) walk(w *world) {
	c.world = w
	small(c, &w.Tick)
	small(c, w.Budget.all()...)
	for k := 1; k <= maxKeys; k++ {
		key := &w.Keys[k]
		if c.bools(&key.Exists, &key.Valid, &key.Unclear, &key.Excused); key.Exists {
			small(c, &key.Parent)
			c.ints(&key.Made, &key.Until, &key.Refused)
		}
	}
	c.document(&w.Store)
	c.document(&w.Late)
	for i := range w.P {
		p := &w.P[i]
		c.bools(&p.Alive, &p.Turning, &p.Fresh, &p.Posting, &p.Reread, &p.Tried, &p.Unread, &p.Unsure)
		if small(c, &p.Flight.Key); p.Flight.Key != 0 {
			c.ints(&p.Flight.Until)
		}
		if p.Alive {
			small(c, &p.Reply, &p.Arrived)
			c.state(&p.S, c.clock(w, i))
		}
		if p.Turning {
			c.turn(&p.T)
		}
	}
}

func (s *search) encode(buf []byte, w *world) []byte {
	c := codec{buf: buf, texts: &s.texts, config: s.config}
	c.walk(w)
	return c.buf
}

// decode returns what is left of buf.
func (s *search) decode(buf []byte, w *world) (rest []byte) {
	*w = world{}
	c := codec{buf: buf, reading: true, texts: &s.texts, config: s.config}
	c.walk(w)
	return c.buf
}
