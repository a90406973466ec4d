package paper

import (
	"fmt"
	"reflect"
	"slices"
	"unicode"

	"github.com/go-text/typesetting/bidi"
	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/harfbuzz"
	"github.com/go-text/typesetting/language"
	"github.com/go-text/typesetting/segmenter"

	"ampoule/format"
)

// style is what changes the glyphs of a text, besides its characters.
type style struct {
	bold  bool
	lang  string // of BCP 47; empty for names and codes, whose language nobody told
	fixed bool   // the text is a label: it is remembered
}

// glyph is one that stands in a line, in units of its font.
type glyph struct {
	id              font.GID
	cluster         int // the rune of the line at which its cluster begins
	advance, dx, dy int
}

// run is a stretch of one font and direction. Its glyphs stand in visual order.
type run struct {
	typeface   *typeface
	rightward  bool
	start, end int // in the runes of the line
	glyphs     []glyph
}

// line is a line of text as it is drawn, its runs from left to right.
type line struct {
	text  []rune
	runs  []run
	width float64 // in ems, without the blank that ends it

	above, below float64 // how far its glyphs reach from the baseline, in ems
}

// worker shapes text. What it keeps costs more to make than to use; one goroutine
// at a time has it.
type worker struct {
	extra    []*typeface
	buffer   *harfbuzz.Buffer
	fonts    map[*typeface]*harfbuzz.Font
	bidi     bidi.Paragraph
	segments segmenter.Segmenter
	labels   map[labelKey][]line // which come again on every sheet
	names    map[labelKey]line   // of the sheets in hand, which come again while they are fitted
}

type labelKey struct {
	text string
	style
	rightToLeft bool
	most        float64
}

// maxLabels bounds what a worker remembers: some kilobytes each. A sheet has 60.
const maxLabels = 1024

func newWorker(extra []*typeface) *worker {
	return &worker{extra: extra, buffer: harfbuzz.NewBuffer(), fonts: map[*typeface]*harfbuzz.Font{}, labels: map[labelKey][]line{}, names: map[labelKey]line{}}
}

// idle are workers without added fonts that nobody has. A pool of the runtime
// would lose them at every collection of garbage.
var idle = make(chan *worker, 4)

func takeWorker(fonts []*Font) *worker {
	if len(fonts) == 0 {
		select {
		case w := <-idle:
			return w
		default:
		}
	}
	var extra []*typeface
	for _, f := range fonts {
		extra = append(extra, f.typeface)
	}
	return newWorker(extra)
}

func (w *worker) giveBack() {
	clear(w.names)
	if len(w.extra) > 0 {
		return
	}
	select {
	case idle <- w:
	default:
	}
}

// wrap breaks a text into lines of at most so many ems: where Unicode allows a
// break (UAX #14), or between letters where a word alone is wider. It keeps the
// blanks at the ends of lines, so that a reader who joins them finds the words
// apart.
func (w *worker) wrap(text string, s style, rightToLeft bool, most float64) ([]line, error) {
	if text == "" {
		return nil, nil
	}
	// What says something of a person is not kept beyond its sheets.
	if !s.fixed {
		return w.breakUp(text, s, rightToLeft, most)
	}
	key := labelKey{text, s, rightToLeft, most}
	if lines, known := w.labels[key]; known {
		return lines, nil
	}
	lines, err := w.breakUp(text, s, rightToLeft, most)
	if err == nil && len(w.labels) < maxLabels {
		w.labels[key] = lines
	}
	return lines, err
}

func (w *worker) breakUp(text string, s style, rightToLeft bool, most float64) ([]line, error) {
	whole, err := w.line(text, s, rightToLeft)
	if err != nil {
		return nil, err
	}
	if whole.width <= most {
		return []line{whole}, nil
	}
	advances := whole.advances()
	var lines []line
	add := func(from, to int) error {
		l, err := w.line(string(whole.text[from:to]), s, rightToLeft)
		lines = append(lines, l)
		return err
	}
	start, width := 0, 0.0 // of the line that is being filled
	w.segments.Init(whole.text)
	for pieces := w.segments.LineIterator(); pieces.Next(); {
		piece := pieces.Line()
		from, to := piece.Offset, piece.Offset+len(piece.Text)
		full, visible := 0.0, 0.0
		for i := from; i < to; i++ {
			full += advances[i]
			if !unicode.IsSpace(whole.text[i]) {
				visible = full
			}
		}
		if width+visible > most && width > 0 {
			if err := add(start, from); err != nil {
				return nil, err
			}
			start, width = from, 0
		}
		if visible > most {
			// A word that is wider than the line breaks between letters.
			var letters segmenter.Segmenter
			letters.Init(whole.text[from:to])
			for it := letters.GraphemeIterator(); it.Next(); {
				g := it.Grapheme()
				sum := 0.0
				for i := range g.Text {
					sum += advances[from+g.Offset+i]
				}
				if width+sum > most && width > 0 {
					if err := add(start, from+g.Offset); err != nil {
						return nil, err
					}
					start, width = from+g.Offset, 0
				}
				width += sum
			}
			continue
		}
		width += full
	}
	return lines, add(start, len(whole.text))
}

// advances shares the width of each cluster out to its first rune.
func (l *line) advances() []float64 {
	a := make([]float64, len(l.text))
	for _, r := range l.runs {
		for _, g := range r.glyphs {
			a[g.cluster] += float64(g.advance) / r.typeface.upem
		}
	}
	return a
}

// line shapes a text into one line.
func (w *worker) line(text string, s style, rightToLeft bool) (line, error) {
	key := labelKey{text, s, rightToLeft, 0}
	if l, known := w.names[key]; known {
		return l, nil
	}
	l := line{text: []rune(text)}
	direction := bidi.LeftToRight
	if rightToLeft {
		direction = bidi.RightToLeft
	}
	var levels []int
	resolved := w.levels(l.text, direction)
	for start := 0; start < len(l.text); {
		end := start + 1
		for end < len(l.text) && resolved[end] == resolved[start] {
			end++
		}
		parts, err := w.split(l.text, start, end, s.bold)
		if err != nil {
			return line{}, err
		}
		for _, p := range parts {
			p.rightward = resolved[start]%2 == 0
			w.shape(l.text, &p.run, p.script, s.lang)
			if err := p.missing(l.text); err != nil {
				return line{}, err
			}
			l.runs = append(l.runs, p.run)
			levels = append(levels, resolved[start])
		}
		start = end
	}
	reorder(l.runs, levels)
	end := len(l.text)
	for end > 0 && unicode.IsSpace(l.text[end-1]) {
		end--
	}
	for i, a := range l.advances() {
		if i < end {
			l.width += a
		}
	}
	l.measureInk()
	if len(w.names) < maxLabels {
		w.names[key] = l
	}
	return l, nil
}

// levels resolves the embedding level of each character (UAX #9). The runs of
// the library put neighbours of levels 0 and 2 together, so that the number in
// "ABC محمد 12 DEF" would change its place: the levels themselves are read, which
// it keeps to itself.
func (w *worker) levels(text []rune, direction bidi.Direction) []int {
	runs := w.bidi.Segment(text, direction)
	kept := reflect.ValueOf(runs).FieldByName("levels")
	levels := make([]int, len(text))
	for i := range min(len(text), kept.Len()) {
		levels[i] = int(kept.Index(i).Int())
	}
	return levels
}

// reorder puts runs into visual order (UAX #9, rule L2).
func reorder(runs []run, levels []int) {
	if len(runs) == 0 {
		return
	}
	for level := slices.Max(levels); level > 0; level-- {
		for i := 0; i < len(runs); i++ {
			j := i
			for j < len(runs) && levels[j] >= level {
				j++
			}
			if j > i {
				slices.Reverse(runs[i:j])
				slices.Reverse(levels[i:j])
				i = j
			}
		}
	}
}

type part struct {
	run
	script language.Script
}

// split divides text[start:end] by font and script. Signs that all scripts use
// belong to the script before them, or to the first that follows.
func (w *worker) split(text []rune, start, end int, heavy bool) ([]part, error) {
	var parts []part
	script := language.Latin
	for _, r := range text[start:end] {
		if sc := language.LookupScript(r); sc != language.Common && sc != language.Inherited && sc != language.Unknown {
			script = sc
			break
		}
	}
	for i := start; i < end; i++ {
		r := text[i]
		sc := language.LookupScript(r)
		common := sc == language.Common || sc == language.Inherited || sc == language.Unknown
		if !common {
			script = sc
		}
		var t *typeface
		if n := len(parts); n > 0 && common && (parts[n-1].typeface.has(r) || ignorable(r)) {
			t = parts[n-1].typeface
		} else if t = w.faceFor(r, script, heavy); t == nil {
			return nil, fmt.Errorf("paper: no font has U+%04X: %w", r, ErrGlyph)
		}
		if err := t.open(); err != nil {
			return nil, err
		}
		if n := len(parts); n > 0 && parts[n-1].typeface == t && parts[n-1].script == script {
			parts[n-1].end = i + 1
			continue
		}
		parts = append(parts, part{run{typeface: t, start: i, end: i + 1}, script})
	}
	return parts, nil
}

// ignorable reports whether a character is shown by nothing: joiners, direction
// marks, isolates, variation selectors.
func ignorable(r rune) bool {
	return unicode.Is(unicode.Cf, r) || r == 0x34f || r >= 0xfe00 && r <= 0xfe0f
}

// faceFor returns the font for a character, or nil.
func (w *worker) faceFor(r rune, script language.Script, heavy bool) *typeface {
	candidates := []*typeface{builtIn[script], latin}
	for _, t := range append(candidates, w.extra...) {
		if t == nil {
			continue
		}
		if b := bold[t]; heavy && b != nil && b.has(r) {
			return b
		}
		if t.has(r) || ignorable(r) {
			return t
		}
	}
	return nil
}

// shape turns the characters of a run into glyphs.
func (w *worker) shape(text []rune, r *run, script language.Script, lang string) {
	f := w.fonts[r.typeface]
	if f == nil {
		f = harfbuzz.NewFont(font.NewFace(r.typeface.font))
		w.fonts[r.typeface] = f
	}
	b := w.buffer
	b.Clear()
	b.AddRunes(text, r.start, r.end-r.start)
	b.Props = harfbuzz.SegmentProperties{Language: language.NewLanguage(lang), Script: script, Direction: harfbuzz.RightToLeft}
	if r.rightward {
		b.Props.Direction = harfbuzz.LeftToRight
	}
	b.Shape(f, nil)
	r.glyphs = make([]glyph, len(b.Info))
	for i, info := range b.Info {
		p := b.Pos[i]
		r.glyphs[i] = glyph{info.Glyph, info.Cluster, int(p.XAdvance), int(p.XOffset), int(p.YOffset)}
	}
}

// missing is the error of a run that lacks a glyph.
func (r *run) missing(text []rune) error {
	for _, g := range r.glyphs {
		if g.id == 0 {
			return fmt.Errorf("paper: no font has U+%04X: %w", text[g.cluster], ErrGlyph)
		}
	}
	return nil
}

// clean is a text of a certificate as it is printed: composed, in one line, and
// with what hides in it made visible.
func clean(s string) string { return format.Visible(format.NFC(s)) }
