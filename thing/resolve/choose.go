package resolve

import (
	"slices"
	"strings"

	"ampoule/format/linkset"
)

// Want is what a request says of the link that it wants.
type Want struct {
	Type string // link type; "": the default
	// Languages and Media are what the reader takes, the best first: language tags, and
	// media types or ranges of them.
	Languages, Media []string
	Context          string // such as a country; "": none was told
}

// Choose returns the link that a request wants, of sets from the finest level to the
// coarsest; false where there is none of the type.
//
// Without a type it is the default link of the first level that has one, unless one of
// several (gs1:defaultLinkMulti) is in a language, or of a context, that was asked for.
func Choose(levels []linkset.Context, w Want) (linkset.Link, bool) {
	for _, level := range levels {
		if w.Type != "" {
			if links := level.Links(w.Type); len(links) > 0 {
				return w.best(links), true
			}
			continue
		}
		var meant []linkset.Link
		for _, l := range level.Links(linkset.DefaultLinkMulti) {
			if rank := w.rank(l); rank.context >= 0 && rank.language >= 0 && rank.media >= 0 && rank != (ranked{}) {
				meant = append(meant, l)
			}
		}
		if len(meant) > 0 {
			return w.best(meant), true
		}
		if links := level.Links(linkset.DefaultLink); len(links) > 0 {
			return links[0], true
		}
	}
	return linkset.Link{}, false
}

// ranked is how well a link meets a wish: above 0 it was asked for, 0 nothing is said,
// below 0 it is another.
type ranked struct{ context, language, media int }

func (w Want) best(links []linkset.Link) linkset.Link {
	best, chosen := ranked{}, -1
	for i, l := range links {
		r := w.rank(l)
		if chosen < 0 || r.context > best.context ||
			r.context == best.context && (r.language > best.language || r.language == best.language && r.media > best.media) {
			best, chosen = r, i
		}
	}
	return links[chosen]
}

func (w Want) rank(l linkset.Link) (r ranked) {
	if w.Context != "" && len(l.Context) > 0 {
		r.context = -1
		if slices.ContainsFunc(l.Context, func(c string) bool { return strings.EqualFold(c, w.Context) }) {
			r.context = 1
		}
	}
	r.language = place(w.Languages, len(l.Languages) > 0, func(wanted string) bool {
		return slices.ContainsFunc(l.Languages, func(has string) bool { return sameLanguage(wanted, has) })
	})
	r.media = place(w.Media, l.MediaType != "", func(wanted string) bool { return inRange(l.MediaType, wanted) })
	return r
}

// place is how early something that a link says of itself stands among what is wanted.
func place(wanted []string, said bool, matches func(string) bool) int {
	if len(wanted) == 0 || !said {
		return 0
	}
	if at := slices.IndexFunc(wanted, matches); at >= 0 {
		return len(wanted) - at
	}
	return -1
}

// sameLanguage is RFC 4647 section 3.4 for tags of one or two parts: fr-CA is met by fr,
// and fr by fr-CA.
func sameLanguage(wanted, has string) bool {
	w, h := strings.ToLower(wanted), strings.ToLower(has)
	return w == "*" || w == h || strings.HasPrefix(w, h+"-") || strings.HasPrefix(h, w+"-")
}

// inRange reports whether a media type is in a range such as text/*. What takes all asks
// for none.
func inRange(media, wanted string) bool {
	media, _, _ = strings.Cut(media, ";")
	if base, ok := strings.CutSuffix(wanted, "/*"); ok {
		media, _, _ = strings.Cut(media, "/")
		wanted = base
	}
	return strings.EqualFold(strings.TrimSpace(media), wanted)
}

// Passed adds the query of a request to the address of a link, unless the link does not
// want it (GS1: all pairs are passed on by default).
func Passed(l linkset.Link, query string) string {
	if query == "" || l.ForwardQuery != nil && !*l.ForwardQuery {
		return l.Href
	}
	head, fragment, cut := strings.Cut(l.Href, "#")
	separator := "?"
	if strings.Contains(head, "?") {
		separator = "&"
	}
	head += separator + query
	if cut {
		head += "#" + fragment
	}
	return head
}

// Merge adds relations to a set, each type once.
func Merge(c *linkset.Context, relations ...linkset.Relation) {
	for _, r := range relations {
		at := slices.IndexFunc(c.Relations, func(have linkset.Relation) bool { return linkset.Type(have.Type) == linkset.Type(r.Type) })
		if at < 0 {
			c.Relations = append(c.Relations, linkset.Relation{Type: r.Type, Links: slices.Clone(r.Links)})
			continue
		}
		c.Relations[at].Links = append(c.Relations[at].Links, r.Links...)
	}
}

// descriptive are the types of which one is the default where nobody named another, in
// this order.
var descriptive = []string{linkset.ProductPage, linkset.LocationInfo, linkset.MasterData, linkset.EPCIS, linkset.RecallStatus, "describedby"}

// AddDefault gives a set a default link where it has none.
func AddDefault(c *linkset.Context) {
	if len(c.Links(linkset.DefaultLink)) > 0 {
		return
	}
	for _, t := range descriptive {
		if links := c.Links(t); len(links) > 0 {
			Merge(c, linkset.Relation{Type: linkset.DefaultLink, Links: links[:1]})
			return
		}
	}
}

// Describe gives each default link that no descriptive type has a place under one, and
// leaves the default nothing but its address and its title: both are asked for by GS1.
func Describe(c *linkset.Context) {
	described := map[string]bool{}
	for _, r := range c.Relations {
		if t := linkset.Type(r.Type); t != linkset.DefaultLink && t != linkset.DefaultLinkMulti {
			for _, l := range r.Links {
				described[l.Href] = true
			}
		}
	}
	var bare []linkset.Link
	for i := range c.Relations {
		r := &c.Relations[i]
		t := linkset.Type(r.Type)
		if t != linkset.DefaultLink && t != linkset.DefaultLinkMulti {
			continue
		}
		if t == linkset.DefaultLink {
			r.Links = []linkset.Link{{Href: r.Links[0].Href, Title: r.Links[0].Title}} // one, and no attributes
		}
		for _, l := range r.Links {
			if !described[l.Href] {
				described[l.Href] = true
				bare = append(bare, l)
			}
		}
	}
	if len(bare) > 0 {
		Merge(c, linkset.Relation{Type: linkset.ProductPage, Links: bare})
	}
}
