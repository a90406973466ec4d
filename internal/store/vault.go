package store

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/party/issuer"
)

// vault keeps the keys of records, outside the database, and the list of the
// records that were erased. Each has a file of fixed rows of 64 bytes, so that a
// key can be overwritten where it stands, and a row that a crash cut off shows.
//
//	key file     header, then slot 0, 1, …
//	  header     "AMPKEYS1", id of the store (16), id of the master key (16), zeros, CRC
//	  slot       nonce (12), record key (32) and tag (16) under AES-256-GCM with the
//	             wrapping key, the store and the number of the slot as associated
//	             data, CRC (4); all zero once the record is erased
//	erasure list header, then an entry for each record
//	  header     "AMPERAS1", id of the store (16), zeros, CRC
//	  entry      id of the record (16), its slot (8, big endian), zeros, CRC
//
// CRC is CRC-32C of the bytes before it, and tells a cut row from a whole one; what
// is forged, AES-GCM tells.
type vault struct {
	id    [16]byte // of the store
	wrap  cipher.AEAD
	index []byte // key of the blind index
	lock  func() error
	dir   string

	auditKey, sealKey []byte      // of the HMACs of audit lines and of their seals
	people            cipher.AEAD // seals what is personal or secret about accounts

	mu     sync.Mutex // guards what follows
	keys   rows
	erased rows
	free   []recordKey // on the disk already, of no record yet
}

// recordKey is the key of one record and its place.
type recordKey struct {
	slot int64
	aead cipher.AEAD
}

// The names of the vault's files in the folder of the store.
const (
	keyFile    = "records.keys"
	erasedFile = "erased.list"
)

var (
	keyMagic    = []byte("AMPKEYS1")
	erasedMagic = []byte("AMPERAS1")
)

// row is the size of everything in the two files.
const row = 64

// ahead is how many record keys are made at a time: one sync of the key file then
// serves as many records, and a crash wastes so many slots at most.
const ahead = 512

// rows is a file of rows behind a header.
type rows struct {
	file *os.File
	n    int64 // rows
	bad  error // set when a sync failed: what is on the disk is not known any more
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal puts the checksum at the end of a row.
func sealRow(r []byte) []byte {
	binary.BigEndian.PutUint32(r[row-4:], crc32.Checksum(r[:row-4], castagnoli))
	return r
}

func wholeRow(r []byte) bool {
	return binary.BigEndian.Uint32(r[row-4:]) == crc32.Checksum(r[:row-4], castagnoli)
}

var zeroRow [row]byte

// createVault makes the two files, where they are not there yet. A store whose
// making was interrupted can so be made again; one that has keys is left alone.
func createVault(dir string, master *keys.MasterKey) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	path := filepath.Join(dir, keyFile)
	switch info, err := os.Stat(path); {
	case err == nil && info.Size() > row:
		return fmt.Errorf("store: %s has keys of records in it: %w; open the store, or restore a backup", path, ErrExists)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("store: %w", err)
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	list := make([]byte, row)
	copy(list[copy(list, erasedMagic):], id[:])
	if err := keep.Replace(filepath.Join(dir, erasedFile), sealRow(list), 0o600); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	head := make([]byte, row)
	copy(head, keyMagic)
	copy(head[8:], id[:])
	copy(head[24:], master.Derive("store id")[:16])
	// The key file comes last: without it there is no store.
	if err := keep.Replace(path, sealRow(head), 0o600); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// openVault opens the files and keeps other processes from doing so.
func openVault(dir string, master *keys.MasterKey) (_ *vault, err error) {
	v := &vault{dir: dir}
	defer func() {
		if err != nil {
			_ = v.close()
		}
	}()
	path := filepath.Join(dir, keyFile)
	if v.keys.file, err = os.OpenFile(path, os.O_RDWR, 0); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store: there is no %s: %w; make a store first, or bring its key file back", path, ErrNoStore)
	} else if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if v.lock, err = keep.Own(v.keys.file); err != nil {
		return nil, fmt.Errorf("store: %s: %w (%v)", path, ErrInUse, err)
	}
	head, err := v.keys.open(keyMagic)
	if err != nil {
		return nil, err
	}
	copy(v.id[:], head[8:])
	if !hmac.Equal(head[24:40], master.Derive("store id")[:16]) {
		return nil, fmt.Errorf("store: %s was made under another master key: %w", path, ErrWrongMaster)
	}
	list := filepath.Join(dir, erasedFile)
	if v.erased.file, err = os.OpenFile(list, os.O_RDWR, 0); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store: there is no %s: %w; without it, records that were erased would come back", list, ErrNoStore)
	} else if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if head, err = v.erased.open(erasedMagic); err != nil {
		return nil, err
	}
	if !bytes.Equal(head[8:24], v.id[:]) {
		return nil, fmt.Errorf("store: %s and %s are of two stores: %w", keyFile, erasedFile, ErrMismatch)
	}
	block, err := aes.NewCipher(master.Derive("record key wrap"))
	if err != nil {
		return nil, err
	}
	if v.wrap, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	v.index = master.Derive("blind index")
	v.auditKey, v.sealKey = master.Derive("audit line"), master.Derive("audit seal")
	if v.people, err = newAEAD(master.Derive("people")); err != nil {
		return nil, err
	}
	return v, nil
}

// open reads the header, and takes off what a crash left of a last row.
func (r *rows) open(magic []byte) ([]byte, error) {
	head := make([]byte, row)
	name := filepath.Base(r.file.Name())
	if _, err := r.file.ReadAt(head, 0); err != nil || !wholeRow(head) || !bytes.HasPrefix(head, magic) {
		return nil, fmt.Errorf("store: %s has no header: %w", name, ErrDamaged)
	}
	info, err := r.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	r.n = info.Size()/row - 1
	// Rows that a crash left unwritten have never been believed: take them off,
	// so that the file ends where the next row goes.
	last := make([]byte, row)
	for bytes.Equal(magic, erasedMagic) && r.n > 0 {
		if _, err := r.file.ReadAt(last, r.n*row); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		if wholeRow(last) {
			break
		}
		r.n--
	}
	if info.Size() == (r.n+1)*row {
		return head, nil
	}
	if err := errors.Join(r.file.Truncate((r.n+1)*row), r.file.Sync()); err != nil {
		return nil, fmt.Errorf("store: %s: %w", name, err)
	}
	return head, nil
}

// append adds rows, durably. After an error none of them is there, or the file is
// not to be used any more.
func (r *rows) append(data []byte) error {
	if r.bad != nil {
		return r.bad
	}
	at := (r.n + 1) * row
	if _, err := r.file.WriteAt(data, at); err != nil {
		return errors.Join(err, r.file.Truncate(at)) // a full disk, mostly: nothing was promised
	}
	if err := r.sync(); err != nil {
		return err
	}
	r.n += int64(len(data) / row)
	return nil
}

// sync never tries twice: after a failure the system may have dropped what it
// could not write, and call the next sync a success.
func (r *rows) sync() error {
	if err := r.file.Sync(); err != nil {
		r.bad = fmt.Errorf("%w: %w; open it again", ErrFailed, err)
		return r.bad
	}
	return nil
}

// at reads a row.
func (r *rows) at(n int64) ([]byte, error) {
	if n < 0 || n >= r.n {
		return nil, io.EOF
	}
	data := make([]byte, row)
	_, err := r.file.ReadAt(data, (n+1)*row)
	return data, err
}

// take returns a key that no record has had.
func (v *vault) take() (recordKey, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.free) == 0 {
		if err := v.refill(); err != nil {
			return recordKey{}, fmt.Errorf("store: key file: %w", err)
		}
	}
	k := v.free[0]
	v.free = v.free[1:]
	return k, nil
}

// refill makes keys ahead. They are on the disk before any of them seals a record.
func (v *vault) refill() error {
	free := make([]recordKey, 0, ahead)
	data := make([]byte, 0, ahead*row)
	for i := range int64(ahead) {
		var key [32]byte
		_, _ = rand.Read(key[:]) // never fails
		aead, err := newAEAD(key[:])
		if err != nil {
			return err
		}
		slot := v.keys.n + i
		r := make([]byte, row)
		v.wrap.Seal(r[:0], nil, key[:], v.slotData(slot))
		clear(key[:])
		data = append(data, sealRow(r)...)
		free = append(free, recordKey{slot, aead})
	}
	if err := v.keys.append(data); err != nil {
		return err
	}
	v.free = free
	return nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// slotData binds a wrapped key to its store and its place.
func (v *vault) slotData(slot int64) []byte {
	return binary.BigEndian.AppendUint64(v.id[:len(v.id):len(v.id)], uint64(slot))
}

// key returns the key of a record. The error is [issuer.ErrUnreadable] where it
// is gone.
func (v *vault) key(slot int64) (recordKey, error) {
	v.mu.Lock()
	r, err := v.keys.at(slot)
	v.mu.Unlock()
	switch {
	case err == io.EOF:
		return recordKey{}, fmt.Errorf("store: slot %d is not in the key file: %w", slot, issuer.ErrUnreadable)
	case err != nil:
		return recordKey{}, fmt.Errorf("store: key file: %w", err)
	case bytes.Equal(r, zeroRow[:]):
		return recordKey{}, fmt.Errorf("store: slot %d was erased: %w", slot, issuer.ErrUnreadable)
	}
	key, err := v.wrap.Open(nil, nil, r[:row-4], v.slotData(slot))
	if err != nil {
		return recordKey{}, fmt.Errorf("store: slot %d: %w: %w", slot, ErrDamaged, issuer.ErrUnreadable)
	}
	defer clear(key)
	aead, err := newAEAD(key)
	return recordKey{slot, aead}, err
}

// erase puts records on the erasure list, and then overwrites their keys. Both are
// on the disk when it returns nil.
func (v *vault) erase(ids []issuer.ID, slots []int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var data []byte
	for i, id := range ids {
		r := make([]byte, row)
		binary.BigEndian.PutUint64(r[copy(r, id[:]):], uint64(slots[i]))
		data = append(data, sealRow(r)...)
	}
	if err := v.erased.append(data); err != nil {
		return fmt.Errorf("store: erasure list: %w", err)
	}
	return v.destroy(slots)
}

// drop overwrites keys that are of no record.
func (v *vault) drop(slots []int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.destroy(slots)
}

// destroy overwrites keys. The caller holds mu.
func (v *vault) destroy(slots []int64) error {
	if v.keys.bad != nil {
		return fmt.Errorf("store: key file: %w", v.keys.bad)
	}
	for _, slot := range slots {
		if slot < 0 || slot >= v.keys.n {
			continue // of a key file that is older than the list: the key is not there
		}
		if _, err := v.keys.file.WriteAt(zeroRow[:], (slot+1)*row); err != nil {
			return fmt.Errorf("store: key file: %w", err)
		}
	}
	if err := v.keys.sync(); err != nil {
		return fmt.Errorf("store: key file: %w", err)
	}
	return nil
}

// erasedSince returns the entries of the erasure list from one on, and sees to it
// that their keys are overwritten: the crash may have come between.
func (v *vault) erasedSince(n int64) (ids []issuer.ID, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var slots []int64
	for ; n < v.erased.n; n++ {
		r, err := v.erased.at(n)
		if err != nil {
			return nil, fmt.Errorf("store: erasure list: %w", err)
		}
		if !wholeRow(r) {
			return nil, fmt.Errorf("store: erasure list, entry %d: %w", n, ErrDamaged)
		}
		ids = append(ids, issuer.ID(r[:16]))
		slots = append(slots, int64(binary.BigEndian.Uint64(r[16:])))
	}
	if len(slots) == 0 {
		return nil, nil
	}
	return ids, v.destroy(slots)
}

// counts returns how many rows the files have.
func (v *vault) counts() (keys, erased int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.keys.n, v.erased.n
}

// mac is the keyed hash of a text that may be personal. The label keeps texts of
// different kinds apart.
func (v *vault) mac(label, text string) []byte {
	h := hmac.New(sha256.New, v.index)
	h.Write([]byte(label))
	h.Write([]byte{0})
	h.Write([]byte(text))
	return h.Sum(nil)
}

func (v *vault) close() error {
	var errs []error
	if v.lock != nil {
		errs = append(errs, v.lock())
	}
	for _, f := range []*os.File{v.erased.file, v.keys.file} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
