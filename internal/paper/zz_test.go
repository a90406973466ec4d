package paper
import ("testing";"os";"time")
func TestZZ(t *testing.T) {
	d := newPDF("Probe","en",time.Unix(0,0)); p := d.addPage(); w := newWorker(nil)
	y := 20.0
	for _, s := range []string{"Hello, Ünal-Øst AV To (q̃)", "محمد عبد الله الأمين", "مُحَمَّد لا", "क्षत्रिय हिन्दी कि रु", "বাংলাদেশ কৌশিক", "தமிழ் கொடு", "తెలుగు క్రి", "አማርኛ", "สวัสดี น้ำ", "ខ្មែរ ក្រុម", "မြန်မာ ကျော်", "שלום עולם 123", "Ελλάδα Москва Ђорђе", "ABC محمد 12 DEF", "සිංහල ශ්‍රී", "മലയാളം ക്ഷ"} {
		ls, err := w.wrap(s, style{}, false, 100)
		if err != nil { t.Fatal(s, err) }
		e := d.root.child("P","")
		p.mark(e)
		for _, l := range ls { p.text(&l, 20, y, 14, 0) }
		p.end()
		y += 10
	}
	os.WriteFile("/tmp/pf/probe.pdf", d.bytes(), 0o644)
}
