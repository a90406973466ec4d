package state

import (
	"ampoule/format"
	"ampoule/format/oid"
)

// Why something is refused. A result carries the word; besides these it may be
// one of the codecs' own, of format/cbor and format/cose.
const (
	// The form.
	ErrTooLarge         = format.Defect("transaction-too-large")
	ErrForm             = format.Defect("bad-form")
	ErrRange            = format.Defect("out-of-range")
	ErrOID              = oid.Err
	ErrKind             = format.Defect("unknown-kind")
	ErrNotDeterministic = format.Defect("not-deterministic")
	ErrNotAscending     = format.Defect("not-ascending")

	// The envelope.
	ErrChain       = format.Defect("other-chain")
	ErrExpired     = format.Defect("transaction-expired")
	ErrTooFarAhead = format.Defect("valid-for-too-long")
	ErrSeqUsed     = format.Defect("sequence-used")
	ErrSeqGap      = format.Defect("sequence-gap")

	// Who signed.
	ErrActorUnknown   = format.Defect("actor-unknown")
	ErrActorSuspended = format.Defect("actor-suspended")
	ErrActorRevoked   = format.Defect("actor-revoked")
	ErrActorPeriod    = format.Defect("actor-not-in-its-period")
	ErrSponsor        = format.Defect("sponsor-not-in-force")
	ErrKeyUnknown     = format.Defect("key-unknown")
	ErrKeyNotInForce  = format.Defect("key-not-in-force")
	ErrKeyUse         = format.Defect("key-for-another-use")
	ErrStraySignature = format.Defect("stray-signature")
	ErrNeedTwo        = format.Defect("two-signatures-needed")
	ErrCounterparty   = format.Defect("counterparty-signature-missing")
	ErrPossession     = format.Defect("new-key-has-not-signed")
	ErrNotAuthorised  = format.Defect("not-authorised")

	// How much.
	ErrQuota     = format.Defect("quota-used-up")
	ErrBlockFull = format.Defect("block-full")

	// What is asked.
	ErrUnknown        = format.Defect("not-registered")
	ErrExists         = format.Defect("already-registered")
	ErrKeyKnown       = format.Defect("key-already-registered")
	ErrKeyCount       = format.Defect("wrong-number-of-keys")
	ErrScope          = format.Defect("scope-not-for-role")
	ErrRevoked        = format.Defect("already-revoked")
	ErrNotIssuer      = format.Defect("issuer-is-another")
	ErrSizeClass      = format.Defect("size-class-too-small")
	ErrPrevious       = format.Defect("not-after-the-last-batch")
	ErrRepeated       = format.Defect("repeated")
	ErrOlder          = format.Defect("older-than-the-last")
	ErrPeriod         = format.Defect("bad-period")
	ErrSameParty      = format.Defect("both-parties-are-one")
	ErrParty          = format.Defect("not-a-party")
	ErrStage          = format.Defect("not-at-that-stage")
	ErrFork           = format.Defect("foreign-fork")
	ErrRollback       = format.Defect("foreign-rollback")
	ErrBeyondLog      = format.Defect("beyond-the-log")
	ErrTooManyOpen    = format.Defect("too-many-proposals")
	ErrVoted          = format.Defect("already-voted")
	ErrClosed         = format.Defect("proposal-closed")
	ErrNotTrusted     = format.Defect("not-in-the-trust-list")
	ErrValidatorCount = format.Defect("two-or-three-validators")
	ErrValidatorPower = format.Defect("a-third-of-the-power")
	ErrValidatorKey   = format.Defect("validator-key-repeated")
	ErrNoValidator    = format.Defect("no-validator-left")
	ErrNoMember       = format.Defect("no-voting-member-left")
	ErrUpgradeHeight  = format.Defect("upgrade-height-not-ahead")
	ErrPolicySchema   = format.Defect("policy-schema")
	ErrPolicyClass    = format.Defect("policy-size-class")
	ErrPolicyRate     = format.Defect("policy-rate")
	ErrContent        = format.Defect("content-hash-differs")
)

// What stops the machine instead of refusing a transaction: the caller made a
// mistake, or this build is not the one that the members voted for.
const (
	ErrGenesis  = format.Defect("bad-genesis")
	ErrBlock    = format.Defect("bad-block")
	ErrUpgrade  = format.Defect("upgrade-needed")
	ErrSnapshot = format.Defect("bad-snapshot")
)
