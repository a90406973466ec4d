package main

import (
	"encoding/json"
	"time"
)

// scene is what the guided tour shows of the demonstration: where things are in it. What
// is to be said of them the page asks the service.
type scene struct {
	Ready   bool    `json:"ready"`             // all of it is there
	Seconds float64 `json:"seconds,omitempty"` // that took
	Trouble string  `json:"trouble,omitempty"` // what did not come about

	Guide struct {
		Login    string `json:"login"`
		Password string `json:"password"`
	} `json:"guide"`
	Shipper  string       `json:"shipper"` // device that went with the pallets
	Freeze   sceneFault   `json:"freeze"`
	PowerCut sceneFault   `json:"power_cut"`
	Lot      string       `json:"lot"` // that froze, as events name it
	Doses    []sceneDose  `json:"doses"`
	Country  sceneCountry `json:"country"` // the other one
	Stolen   *sceneStolen `json:"stolen,omitempty"`
	// Federation tells that the ledger is kept by several processes.
	Federation bool `json:"federation"`
}

// sceneFault is what happened to a refrigerator.
type sceneFault struct {
	Equipment string    `json:"equipment"`
	Name      string    `json:"name"`
	At        time.Time `json:"at"`
}

// sceneDose is a dose whose certificate is a sample.
type sceneDose struct {
	Sample   string `json:"sample"`
	Record   string `json:"record"`
	Facility string `json:"facility"`
	Lot      string `json:"lot"`
}

// sceneCountry is another country, and what its verifier says of certificates of this
// one, and the other way round.
type sceneCountry struct {
	Participant string         `json:"participant"`
	Address     string         `json:"address,omitempty"`
	Said        []sceneVerdict `json:"said,omitempty"`
}

// sceneVerdict is a verdict as a verifier gave it.
type sceneVerdict struct {
	Sample  string `json:"sample"`
	By      string `json:"by"` // participant whose verifier it is
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
	Advice  string `json:"advice"`
}

// sceneStolen is a key that was stolen in the other country.
type sceneStolen struct {
	KID      string         `json:"kid"`
	Reissued int            `json:"reissued"` // certificates, under another key
	Before   []sceneVerdict `json:"before"`   // it was known
	After    []sceneVerdict `json:"after"`
}

// sceneJSON is the scene as it stands.
func (d *demo) sceneJSON() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	data, err := json.Marshal(&d.scene)
	if err != nil {
		panic(err) // of strings, numbers and times
	}
	return data
}

// change changes the scene.
func (d *demo) change(f func(*scene)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.scene)
}
