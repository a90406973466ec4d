package divoc

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"ampoule/format/deflate"
)

// This file reads the archive around a certificate (PKWARE APPNOTE 6.3):
//
//	local header ‖ data ‖ ? data descriptor    of certificate.json
//	central directory                          one entry, the same file
//	end of central directory                   no comment, nothing behind it
//
// An archive is listed twice, by its directory and by the headers in front of
// the data, and readers differ in which they believe. So both must say the same,
// the parts must fill the archive without a gap, and there is one file, under
// its own name in no folder. Nothing of ZIP64, encryption or several disks.

// fileName is that of the certificate in the archive.
const fileName = "certificate.json"

const (
	zipLocal      = 0x04034b50
	zipDescriptor = 0x08074b50
	zipCentral    = 0x02014b50
	zipEnd        = 0x06054b50

	sizeLocal   = 30
	sizeCentral = 46
	sizeEnd     = 22

	flagEncrypted  = 1 << 0
	flagDescriptor = 1 << 3
	// Bits 1 and 2 say how hard the compressor tried, bit 11 that the name is UTF-8.
	flagsKnown = flagDescriptor | 1<<1 | 1<<2 | 1<<11

	methodStored  = 0
	methodDeflate = 8

	maxEntries = 16
)

// entry is one file of the central directory.
type entry struct {
	name                   string
	flags, method          uint16
	crc, packed, size, off uint32
}

// unzip returns the certificate in an archive.
func unzip(data []byte) ([]byte, error) {
	le := binary.LittleEndian
	if len(data) < sizeEnd || le.Uint32(data) != zipLocal && le.Uint32(data) != zipEnd {
		return nil, fmt.Errorf("zip: %w", ErrZip)
	}
	end := data[len(data)-sizeEnd:]
	if le.Uint32(end) != zipEnd || le.Uint32(end[4:]) != 0 || le.Uint16(end[8:]) != le.Uint16(end[10:]) || le.Uint16(end[20:]) != 0 {
		return nil, fmt.Errorf("zip: no end of the directory where the archive ends: %w", ErrZip)
	}
	count, size, start := int(le.Uint16(end[10:])), uint64(le.Uint32(end[12:])), uint64(le.Uint32(end[16:]))
	if start+size != uint64(len(data)-sizeEnd) {
		return nil, fmt.Errorf("zip: the directory is not where its end says: %w", ErrZip)
	}
	entries, err := directory(data[start:start+size], count)
	if err != nil {
		return nil, err
	}
	found := 0
	for _, e := range entries {
		if e.name == fileName {
			found++
		}
	}
	switch {
	case found == 0:
		return nil, fmt.Errorf("zip: no %s among %d files: %w", fileName, len(entries), ErrNoCertificate)
	case found > 1:
		return nil, fmt.Errorf("zip: %d times %s: %w", found, fileName, ErrDuplicateEntry)
	case len(entries) > 1:
		return nil, fmt.Errorf("zip: %d files: %w", len(entries), ErrExtraEntry)
	}
	return entries[0].read(data[:start])
}

// directory reads the central directory, which must hold so many files and
// nothing else.
func directory(data []byte, count int) ([]entry, error) {
	if count > maxEntries {
		return nil, fmt.Errorf("zip: %d files: %w", count, ErrExtraEntry)
	}
	le := binary.LittleEndian
	entries := make([]entry, 0, count)
	for range count {
		if len(data) < sizeCentral || le.Uint32(data) != zipCentral {
			return nil, fmt.Errorf("zip: directory: %w", ErrZip)
		}
		name, extra, comment := int(le.Uint16(data[28:])), int(le.Uint16(data[30:])), int(le.Uint16(data[32:]))
		whole := sizeCentral + name + extra + comment
		if len(data) < whole || le.Uint16(data[34:]) != 0 {
			return nil, fmt.Errorf("zip: directory: %w", ErrZip)
		}
		entries = append(entries, entry{
			name:  string(data[sizeCentral : sizeCentral+name]),
			flags: le.Uint16(data[8:]), method: le.Uint16(data[10:]),
			crc: le.Uint32(data[16:]), packed: le.Uint32(data[20:]), size: le.Uint32(data[24:]), off: le.Uint32(data[42:]),
		})
		data = data[whole:]
	}
	if len(data) > 0 {
		return nil, fmt.Errorf("zip: %d bytes behind the directory: %w", len(data), ErrZip)
	}
	return entries, nil
}

// read returns the content of the only file; data is the archive up to its
// directory.
func (e entry) read(data []byte) ([]byte, error) {
	le := binary.LittleEndian
	switch {
	case e.flags&flagEncrypted != 0:
		return nil, fmt.Errorf("zip: encrypted: %w", ErrZipFeature)
	case e.flags&^flagsKnown != 0, e.method != methodStored && e.method != methodDeflate:
		return nil, fmt.Errorf("zip: method %d, flags %#x: %w", e.method, e.flags, ErrZipFeature)
	case e.size > maxJSON: // before anything is inflated; 0xffffffff would be ZIP64
		return nil, fmt.Errorf("zip: %d bytes, at most %d: %w", e.size, maxJSON, deflate.ErrTooLarge)
	case e.off != 0 || len(data) < sizeLocal || le.Uint32(data) != zipLocal:
		return nil, fmt.Errorf("zip: the file is not at the start: %w", ErrZip)
	}
	name, extra := int(le.Uint16(data[26:])), int(le.Uint16(data[28:]))
	if le.Uint16(data[6:]) != e.flags || le.Uint16(data[8:]) != e.method || len(data) < sizeLocal+name+extra || string(data[sizeLocal:sizeLocal+name]) != e.name {
		return nil, fmt.Errorf("zip: header and directory differ: %w", ErrZip)
	}
	header := [3]uint32{le.Uint32(data[14:]), le.Uint32(data[18:]), le.Uint32(data[22:])}
	body := data[sizeLocal+name+extra:]
	if uint64(e.packed) > uint64(len(body)) {
		return nil, fmt.Errorf("zip: cut off: %w", ErrZip)
	}
	packed, behind := body[:e.packed], body[e.packed:]
	if e.flags&flagDescriptor != 0 {
		if len(behind) == 16 && le.Uint32(behind) == zipDescriptor {
			behind = behind[4:]
		}
		if len(behind) != 12 {
			return nil, fmt.Errorf("zip: data descriptor: %w", ErrZip)
		}
		sizes := [3]uint32{le.Uint32(behind), le.Uint32(behind[4:]), le.Uint32(behind[8:])}
		if header == [3]uint32{} {
			header = sizes
		}
		if sizes != header {
			return nil, fmt.Errorf("zip: data descriptor: %w", ErrZip)
		}
		behind = nil
	}
	if len(behind) > 0 || header != [3]uint32{e.crc, e.packed, e.size} {
		return nil, fmt.Errorf("zip: header and directory differ: %w", ErrZip)
	}
	content := packed
	if e.method == methodDeflate {
		var err error
		if content, err = deflate.Inflate(packed, maxJSON); err != nil {
			return nil, fmt.Errorf("zip: %w", err)
		}
	}
	if len(content) != int(e.size) || crc32.ChecksumIEEE(content) != e.crc {
		return nil, fmt.Errorf("zip: %w", ErrChecksum)
	}
	return content, nil
}
