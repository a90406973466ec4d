package bundle

import (
	"fmt"

	"ampoule/trust"
)

// Told is what a bundle says of lots and of the doses behind a country's own
// certificates, for the bundle of another maker. Whose statements count there its
// maker says; of revocations and trust, and of certificates of other countries,
// nothing is taken over.
func (o *Opened) Told(country string) (told []Document, err error) {
	for _, d := range o.Documents {
		switch {
		case d.Kind == Lots:
			told = append(told, Document{Kind: Lots, Name: d.Name, Data: d.Data})
		case d.Kind == Status && trust.IsSnapshot(d.Data):
			all, err := trust.ParseSnapshot(d.Data)
			if err != nil {
				return nil, fmt.Errorf("bundle: %s: %w", d.Name, err)
			}
			var own trust.Snapshot
			for _, g := range all.Groups {
				if g.Purpose == trust.PurposeDose && g.Country == country {
					own.Add(g)
				}
			}
			if len(own.Groups) == 0 {
				continue
			}
			data, err := own.Encode()
			if err != nil {
				return nil, fmt.Errorf("bundle: %s: %w", d.Name, err)
			}
			told = append(told, Document{Kind: Status, Name: d.Name, Data: data})
		}
	}
	return told, nil
}
