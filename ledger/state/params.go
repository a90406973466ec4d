package state

// Params are the rules that the members may change by vote. Each has bounds that
// no vote can leave.
//
//	params = [
//	    maxLife:          uint,   ;; heights that a transaction may be valid ahead
//	    blockBytes:       uint,
//	    blockWork:        uint,   ;; see Tx.Work
//	    reserved:         uint,   ;; percent of a block's work for votes and revocation
//	    quotaWindow:      uint,   ;; heights
//	    quotaTxs:         uint,   ;; of one member and all that it sponsors, in a window
//	    quotaBytes:       uint,
//	    quotaUrgent:      uint,   ;; the same for votes and revocation, counted apart
//	    epochBlocks:      uint,   ;; heights between two state leaves
//	    voteSeconds:      uint,   ;; how long a proposal is open
//	    emergencySeconds: uint,   ;; how long an emergency holds without being ratified
//	    emergencyMembers: uint,   ;; how many members call one
//	    openProposals:    uint,   ;; of all members, contracts not counted
//	    minClass:         uint    ;; smallest batch, as a power of two
//	]
type Params struct {
	MaxLife, BlockBytes, BlockWork, Reserved        uint64
	QuotaWindow, QuotaTxs, QuotaBytes, QuotaUrgent  uint64
	EpochBlocks                                     uint64
	VoteSeconds, EmergencySeconds, EmergencyMembers uint64
	OpenProposals                                   uint64
	MinClass                                        uint64
}

// DefaultParams suit a federation that closes a block a second at most.
var DefaultParams = Params{
	MaxLife: 10_000, BlockBytes: 4 << 20, BlockWork: 50_000, Reserved: 20,
	QuotaWindow: 600, QuotaTxs: 20_000, QuotaBytes: 16 << 20, QuotaUrgent: 2_000,
	EpochBlocks: 600, VoteSeconds: 14 * 86400, EmergencySeconds: 72 * 3600, EmergencyMembers: 3,
	OpenProposals: 64, MinClass: 6,
}

// param is one number of Params by its place, with its bounds.
type param struct {
	value       *uint64
	least, most uint64
}

const paramCount = 14

func (p *Params) all() [paramCount]param {
	return [...]param{
		{&p.MaxLife, 10, 1_000_000},
		{&p.BlockBytes, 2 * MaxTx, 64 << 20},
		{&p.BlockWork, 2 * maxTxWork, 10_000_000},
		{&p.Reserved, 5, 50},
		{&p.QuotaWindow, 1, 1_000_000},
		{&p.QuotaTxs, 10, 1 << 30},
		{&p.QuotaBytes, MaxTx, 1 << 40},
		{&p.QuotaUrgent, 10, 1 << 30},
		{&p.EpochBlocks, 1, 1_000_000},
		{&p.VoteSeconds, 3600, 366 * 86400},
		{&p.EmergencySeconds, 3600, 30 * 86400},
		{&p.EmergencyMembers, 1, 16},
		{&p.OpenProposals, 4, 256},
		// Below 64 a batch says too much about how many there were; beyond 2^14 no
		// proof of a member fits a printed code.
		{&p.MinClass, 6, maxClass},
	}
}

func appendParams(dst []byte, p Params) []byte {
	all := p.all()
	return appendList(dst, all[:], func(dst []byte, one param) []byte { return appendNum(dst, *one.value) })
}

func readParams(r *reader) (p Params) {
	in := inside(r)
	for _, one := range p.all() {
		*one.value = in.number(one.least, one.most)
	}
	r.close(in)
	return p
}
