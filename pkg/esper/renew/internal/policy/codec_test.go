package policy

import (
	"hash/maphash"
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

// codec turns a world into bytes and back, so that millions of worlds fit into memory. The same methods write
// and read.
type codec struct {
	buf     []byte
	reading bool
	world   *world
	config  *config
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

func (c *codec) int(n *int) {
	hi, lo := byte(uint16(int16(*n))>>8), byte(*n)
	c.byte(&hi)
	c.byte(&lo)
	*n = int(int16(uint16(hi)<<8 | uint16(lo)))
}

func (c *codec) small(n *int) {
	b := byte(*n)
	c.byte(&b)
	*n = int(int8(b))
}

func (c *codec) time(t *time.Time) {
	const none, far = -1 << 15, 1<<15 - 1
	n := none
	if !t.IsZero() {
		n = min(int(t.Unix()-start.Unix()), far) // after that, the end of a key that has ended by a wrong clock
	}
	c.int(&n)
	if c.reading {
		if *t = (time.Time{}); n != none {
			*t = start.Add(time.Duration(n) * time.Second)
		}
		if n == far {
			*t = start.Add(distant)
		}
	}
}

func (c *codec) text(s *string) {
	n, ok := c.texts.number[*s]
	if !ok {
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

func (c *codec) key(k *wire.Secret) {
	n := byte(keyOf(Document{Key: *k}))
	c.byte(&n)
	*k = keyNames[n]
}

func (c *codec) attempt(a *Attempt) {
	c.text(&a.ID)
	if a.ID == "" {
		*a = Attempt{}
		return
	}
	c.time(&a.Begun)
	c.time(&a.Until)
}

func (c *codec) document(d *Document) {
	c.key(&d.Key)
	if d.Key.IsZero() {
		*d = Document{}
		return
	}
	c.text(&d.Lineage)
	c.small(&d.Serial)
	c.text(&d.Predecessors)
	c.text(&d.Initial)
	kept := !d.Answer.IsZero()
	c.bools(&kept)
	if d.Answer = (wire.Secret{}); kept {
		d.Answer = answer
	}
	c.time(&d.RenewedAt)
	c.time(&d.RefusedAt)
	c.time(&d.LostAt)
	aside := d.SetAside.Reveal()
	c.text(&aside)
	d.SetAside = wire.NewSecret(aside)
	c.attempt(&d.Attempt)
	if c.reading {
		times := c.world.documentOf(keyOf(*d))
		d.IssuedAt, d.ExpiresAt, d.EnterpriseID, d.DeveloperAppID = times.IssuedAt, times.ExpiresAt, times.EnterpriseID, times.DeveloperAppID
	}
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
	for _, t := range []*time.Time{&s.AttemptOver, &s.RefusedWait, &s.AsideWait, &s.Asked, &s.Advisory, &s.End, &s.Retry} {
		c.time(t)
	}
	c.small(&s.Fails)
}

func (c *codec) turn(t *Turn) {
	c.bools(&t.Stop, &t.Force, &t.Read, &t.Failed)
	ask, said := byte(t.Ask), byte(t.Said)
	c.byte(&ask)
	c.byte(&said)
	t.Ask, t.Said = Ask(ask), Said(said)
	c.document(&t.Given)
	c.document(&t.Other)
	c.small(&t.Saves)
	c.small(&t.Aside)
	c.attempt(&t.Begun)
}

func (c *codec) walk(w *world) {
	c.world = w
	tick := byte(w.Tick)
	c.byte(&tick)
	w.Tick = int8(tick)
	for _, b := range w.Budget.all() {
		n := int(*b)
		c.small(&n)
		*b = int8(n)
	}
	for k := 1; k <= maxKeys; k++ {
		key := &w.Keys[k]
		c.bools(&key.Exists, &key.Valid, &key.Unclear, &key.Excused)
		if !key.Exists {
			continue
		}
		c.int(&key.Made)
		c.small(&key.Parent)
		c.int(&key.Until)
		c.int(&key.Refused)
	}
	c.document(&w.Store)
	c.document(&w.Late)
	for i := range w.P {
		p := &w.P[i]
		c.bools(&p.Alive, &p.Turning, &p.Fresh, &p.Posting, &p.Reread, &p.Tried, &p.Unread)
		c.small(&p.Flight.Key)
		if p.Flight.Key != 0 {
			c.int(&p.Flight.Until)
		}
		if !p.Alive {
			continue
		}
		c.small(&p.Reply)
		c.small(&p.Arrived)
		c.state(&p.S, c.config.clock(w, i))
		if p.Turning {
			c.turn(&p.T)
		}
	}
}

func newTexts() *texts { return &texts{number: map[string]byte{"": 0}, all: []string{""}} }

func (s *search) encode(buf []byte, w *world) []byte {
	c := codec{buf: buf[:0], texts: s.texts, config: s.config}
	c.walk(w)
	return c.buf
}

func (s *search) decode(buf []byte, w *world) {
	*w = world{}
	c := codec{buf: buf, reading: true, texts: s.texts, config: s.config}
	c.walk(w)
}

// set is a set of hashes. Among ten million worlds, the probability that two of them have the same hash is one in
// 400,000.
type set struct {
	slots []uint64
	n     int
	seed  maphash.Seed
}

func newSet() *set { return &set{slots: make([]uint64, 1<<16), seed: maphash.MakeSeed()} }

// add reports whether b is new.
func (s *set) add(b []byte) bool {
	if s.n*2 > len(s.slots) {
		old := s.slots
		s.slots = make([]uint64, 2*len(old))
		for _, h := range old {
			if h != 0 {
				s.put(h)
			}
		}
	}
	h := max(maphash.Bytes(s.seed, b), 1)
	if !s.put(h) {
		return false
	}
	s.n++
	return true
}

func (s *set) put(h uint64) bool {
	for i := h & uint64(len(s.slots)-1); ; i = (i + 1) & uint64(len(s.slots)-1) {
		switch s.slots[i] {
		case h:
			return false
		case 0:
			s.slots[i] = h
			return true
		}
	}
}
