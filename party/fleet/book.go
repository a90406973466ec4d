package fleet

import (
	"context"
	"time"

	"ampoule/coldchain"
	"ampoule/device"
)

// Origin says what a block is.
type Origin uint8

// The origins.
const (
	Open   Origin = iota // readings that nobody has signed yet
	Sealed               // signed by this service, at the level at which they came
	Own                  // signed by the device
	Forked               // signed by the device, and contradicting another that it signed: evidence, and no reading counts
)

// Block is readings of one stream as they are kept.
type Block struct {
	N           int64 // order of arrival in the store, from 1
	Stream      int64
	Origin      Origin
	Seq         uint64 // of a segment
	First, Last int64  // seconds, of the device's clock
	Count       int
	Low, High   int32
	Level       device.Level
	Received    time.Time
	Hash        device.Hash // of a segment
	Data        []byte      // the segment as it was signed, or readings as [pack] has them
}

// Raw is a message as it came.
type Raw struct {
	Digest   [32]byte // of source, key and body: the same message has the same; zeros: it is known by its readings
	Media    string
	Body     []byte
	Supplier string
	Until    time.Time // from then on it is deleted
}

// Heard is what was heard of a device last.
type Heard struct {
	At    time.Time    // when something new came, by the clock of the server
	Level device.Level // the least of what its streams said last
}

// State of an alarm.
type State string

// The states.
const (
	Standing  State = "standing"
	Ended     State = "ended"
	Withdrawn State = "withdrawn" // data that came late showed that it was none
)

// Acknowledgement says that somebody has seen to it.
type Acknowledgement struct {
	By      string    `json:"by"`
	At      time.Time `json:"at"`
	Comment string    `json:"comment,omitempty"`
}

// Alarm is an episode that somebody must know of. Every change makes a version of it,
// signed, which names the one before.
type Alarm struct {
	ID      ID
	Version int64
	Place   Place
	State   State
	Stream  int64 // 0: of the equipment itself

	Equipment ID                `json:"equipment"`
	Name      string            `json:"name"` // of the equipment, then
	Device    device.ID         `json:"device"`
	Sensor    string            `json:"sensor"`
	Episode   coldchain.Episode `json:"episode"`
	// Low and High are the least and the greatest that was measured from Since to Until,
	// or until now.
	Low, High    int32
	Terms        coldchain.Terms   `json:"terms"`
	Raised       time.Time         `json:"raised"` // by the clock of the server
	Changed      time.Time         `json:"changed"`
	Why          string            `json:"why,omitempty"` // of this version: raised, worse, ended, late-data, acknowledged, comment
	Acknowledged []Acknowledgement `json:"acknowledged,omitempty"`
	Escalated    int               `json:"escalated,omitempty"` // how often it went further up
	Told         time.Time         `json:"told,omitzero"`       // when people were told last
	Statement    []byte            `json:"-"`                   // this version, signed
}

// Seen reports whether somebody has acknowledged it.
func (a *Alarm) Seen() bool { return len(a.Acknowledged) > 0 }

// Target is where alarms are told.
type Target struct {
	ID      ID
	Place   Place
	Version int64

	Channel string `json:"channel"` // webhook, mail, mqtt
	Address string `json:"address"`
	Secret  []byte `json:"secret,omitempty"` // of a webhook
	// Rank is 0 for who is told first, and 1 for who is told what nobody acknowledged.
	Rank     int    `json:"rank,omitempty"`
	Language string `json:"language,omitempty"`
	// From QuietFrom until QuietUntil, in minutes after midnight of Zone, nothing is told
	// but what is urgent. Equal: never.
	QuietFrom  int    `json:"quiet_from,omitempty"`
	QuietUntil int    `json:"quiet_until,omitempty"`
	Zone       string `json:"zone,omitempty"`
}

// Notice is one message that is to be sent.
type Notice struct {
	ID       ID
	Alarm    ID
	Version  int64
	Target   ID
	Kind     string // raised, repeated, escalated, ended
	Due      time.Time
	Attempts int
	Sent     time.Time // zero: not yet
	Problem  string    // a word: why it was not sent last
	Given    bool      // up
}

// Addition is what a delivery brought.
type Addition struct {
	Blocks []Block // N is not set
	Raw    *Raw    // the message, if it is to be known by its digest or kept
	// Heads are chains that went on: their own heads, and from which sequence number on
	// their segments have this level.
	Heads []Advance
}

// Advance is a chain that goes on.
type Advance struct {
	Stream int64
	Own    device.Head
	Since  uint64 // segments from here to the head, which were kept before; above it: none
	Level  device.Level
}

// Sealing is open readings of a stream that become segments.
type Sealing struct {
	Stream   Stream // as it is then
	Sealed   []Block
	Replaced []int64 // numbers of the open blocks
}

// Evaluation is what one round of evaluation has found. It is written whole.
type Evaluation struct {
	Cursor  int64 // the last block of it
	Streams []Stream
	Alarms  []Alarm // new versions
	Notices []Notice
}

// A Book keeps what a fleet must not lose. Each method that changes something is one
// durable step: what it was given is on the disk when it returns nil. It is used by many
// at once.
type Book interface {
	// PutEquipment writes equipment whose version is one above that which is there, or
	// returns [ErrChanged].
	PutEquipment(ctx context.Context, e *Equipment) error
	// Equipment returns [ErrNoEquipment] where there is none.
	Equipment(ctx context.Context, id ID) (*Equipment, error)
	// EquipmentAt returns what stands at a place, by name, of all organisations for the
	// zero place.
	EquipmentAt(ctx context.Context, at Place) ([]Equipment, error)
	// EquipmentAfter returns what stands at a place after one of them ("" for the first), by
	// identifier.
	EquipmentAfter(ctx context.Context, at Place, after ID, limit int) ([]Equipment, error)

	// PutDevice writes a device whose version is one above that which is there, or returns
	// [ErrChanged]; [ErrNameTaken] where a name of it is another's.
	PutDevice(ctx context.Context, d *Device) error
	// Device returns [ErrNoDevice] where there is none; so do the next two.
	Device(ctx context.Context, id device.ID) (*Device, error)
	DeviceNamed(ctx context.Context, n device.Name) (*Device, error)
	DeviceClaimed(ctx context.Context, claim []byte) (*Device, error)
	// DevicesAt returns devices of a place after one of them, by identifier: those in a
	// state, or all for "".
	DevicesAt(ctx context.Context, at Place, state device.Life, after device.ID, limit int) ([]Device, error)
	// Heard tells of those with an identifier from one to another what was heard last.
	Heard(ctx context.Context, from, until device.ID) (map[device.ID]Heard, error)
	// Announced counts devices of an organisation that an account has announced and nobody
	// has claimed.
	Announced(ctx context.Context, organisation, account string) (int, error)
	// DevicesIn returns those that are in a piece of equipment or were, by identifier.
	DevicesIn(ctx context.Context, e ID) ([]Device, error)

	// AddStream gives streams their numbers, or reads those that are there.
	AddStream(ctx context.Context, all ...*Stream) error
	StreamsOf(ctx context.Context, id device.ID) ([]Stream, error)
	Stream(ctx context.Context, n int64) (*Stream, error)
	// EachStream calls each for every stream, with its device.
	EachStream(ctx context.Context, each func(*Stream, *Device) error) error
	// EachStreamIn calls each for every stream of a device that is or was in equipment with
	// an identifier from one to another, with its device.
	EachStreamIn(ctx context.Context, from, until ID, each func(*Stream, *Device) error) error

	// Append adds what one delivery brought, and reports whether its message was there, or
	// each of its readings: then no block is added. An open reading that its stream has, of
	// that time and value, is left out.
	Append(ctx context.Context, a *Addition) (repeated bool, err error)
	// Arrived returns blocks after one, in the order of their arrival, without those that
	// were sealed here. What arrived at one level in one stream may be one block by now,
	// with the number of its last.
	Arrived(ctx context.Context, after int64, limit int) ([]Block, error)
	// Cursor is the last block that was evaluated.
	Cursor(ctx context.Context) (int64, error)
	// Blocks returns those of a stream with a reading between two times, both included:
	// the open ones last, and each kind in its order.
	Blocks(ctx context.Context, stream, from, until int64) ([]Block, error)
	// Segments returns those of an origin with these sequence numbers, in their order.
	Segments(ctx context.Context, stream int64, o Origin, from uint64, limit int) ([]Block, error)
	// Unsealed returns streams with at least so many open readings, or with some since
	// before a time.
	Unsealed(ctx context.Context, least int64, before time.Time, limit int) ([]Stream, error)
	// OpenBlocks returns those of a stream up to one, in the order of their arrival.
	OpenBlocks(ctx context.Context, stream, until int64) ([]Block, error)
	// Seal puts segments in the place of open blocks, and writes the streams' heads.
	Seal(ctx context.Context, all []Sealing) error
	// Evaluated writes what a round found.
	Evaluated(ctx context.Context, e *Evaluation) error

	// Alarms of a place, the newest first, before one of them ("" for the newest): those in
	// a state, or all for "".
	Alarms(ctx context.Context, at Place, s State, before ID, limit int) ([]Alarm, error)
	AlarmsOf(ctx context.Context, stream int64, since int64) ([]Alarm, error)
	AlarmsIn(ctx context.Context, e ID, from, until int64) ([]Alarm, error)
	// StandingIn returns those that stand in equipment with an identifier from one to
	// another, the newest first.
	StandingIn(ctx context.Context, from, until ID) ([]Alarm, error)
	Alarm(ctx context.Context, id ID) (*Alarm, error)
	// Versions are the signed statements of an alarm, the first first.
	Versions(ctx context.Context, id ID) ([][]byte, error)

	// Windows returns those that were anchored after one, in their order; the last alone
	// for a number below 0.
	Windows(ctx context.Context, after int64, limit int) ([]Window, error)
	PutWindow(ctx context.Context, w *Window) error
	// Leaves are the segments with numbers above one and up to another, of all streams, in
	// the order of their numbers, so many at most: their hashes, how many readings they
	// have, and the number of the last.
	Leaves(ctx context.Context, after, until int64, limit int) (hashes []device.Hash, readings, last int64, err error)

	PutTarget(ctx context.Context, t *Target) error
	DeleteTarget(ctx context.Context, id ID) error
	Targets(ctx context.Context) ([]Target, error)
	// Due returns notices that are to be sent by now.
	Due(ctx context.Context, now time.Time, limit int) ([]Notice, error)
	PutNotice(ctx context.Context, n *Notice) error

	// Forget deletes raw messages whose time is over, and segments of readings that ended
	// before a time; 0: none. It returns how many.
	Forget(ctx context.Context, now time.Time, before int64) (raws, segments int64, err error)
}
