/*
 * The move: how a session's ownership goes from one gateway to another
 * (rfc/control-profile.md, section 8). README.md beside this file says what is
 * modelled, what is left out and why, and how to run it.
 *
 * Session. There is one, with one outbound SA and so one key. Gateway 0 is its
 * first owner. Its sequence numbers go from 1 to NUMBERS.
 *
 * Network. Whatever was ever sent stays in it. A receiver takes a message when
 * it likes, as often as it likes, or never: loss, delay, repetition and
 * reordering in one. A question needs no message of its own, since an answer
 * that was given once can arrive again at any time.
 *
 * Crashes. Each inline below is one step of a gateway and cannot be torn apart.
 * Where the machine writes a record and then sends, one step does both: a crash
 * before the fsync is a crash before the step, and a crash between the fsync and
 * the sending is the step whose message never arrives. What a crash does tear
 * apart, a record and the kernel, are steps of their own.
 *
 * -DBROKEN_x takes one rule away. Each such variant must fail.
 */

#ifndef GATEWAYS
#define GATEWAYS 2      /* 2 or 3 */
#endif
#ifndef EPOCHS
#define EPOCHS 2        /* attempts to move, 1 to 3 */
#endif
#ifndef NUMBERS
#define NUMBERS 3       /* the highest sequence number, 3 to 6 */
#endif
#ifndef HEADROOM
#define HEADROOM 1      /* the ceiling above the counter (section 8.2) */
#endif
#ifndef CRASHES
#define CRASHES 1       /* crashes of each daemon, 0 or 1: the kernel lives on */
#endif
#ifndef REBOOTS
#define REBOOTS 1       /* reboots of each gateway, 0 or 1: the journal lives on */
#endif
#ifndef REINSTALLS
#define REINSTALLS 0    /* journals lost, in all, 0 or 1 */
#endif
#ifndef FENCES
#define FENCES 1        /* targets that the operator powers off, in all, 0 or 1 */
#endif
/* -DSILENCE: from some time on nobody hears anything any more.
 * -DFENCED_RETURNS: a fenced gateway may be powered on again, with its journal.
 * -DNOT_TAKEN: targets say so when they do not take a stage. */

/* What a daemon is doing with the session: volatile. */
mtype:state = {
	IDLE,           /* nothing, or there is only a record */
	OWNER,
	STAGING,        /* source: the stage is sent (section 8.2) */
	FREEZING,       /* source: the grant is durable, the kernel is next */
	FROZEN,         /* source: the final is sent (section 8.3) */
	THAWED,         /* source: goes on, and its record is still to be written */
	THAWING,        /* source: its record is written, it is to go on above G */
	HELD,           /* target: staged, without G */
	READY,          /* target: staged, with G */
	ACTIVATING,     /* target: the mark is gone, the SA is not yet in place */
	UNCLOSED,       /* target: active; the source may still be there */
	OFF             /* fenced */
};

/* The last record of a journal (cxtp/record.go): durable. */
mtype:record = {
	R_NONE, R_OWNED, R_ALLOCATED, R_GRANTED, R_THAWED, R_MOVED, R_ENDED,
	R_MAY_ACTIVATE, R_REFUSED, R_ACTIVE, R_CLOSED, R_LOST
};

/* The outbound SA in the kernel. It outlives the daemon and ends with a reboot.
 * STOPPED: the freeze, one operation with the reading of the counter. */
mtype:sa = { NONE, LIVE, STOPPED };

typedef Gateway {
	mtype st = IDLE;
	mtype rec = R_NONE;
	mtype sa = NONE;
	unsigned epoch : 2;     /* durable: that of the last record */
	unsigned hi : 2;        /* durable: the highest allocated or examined */
	unsigned inc : 1;       /* durable: the journal's incarnation (section 1) */
	unsigned ctr : 3;       /* kernel: the last number used */
	unsigned lim : 3;       /* kernel: the hard limit, where it deletes the SA */
	unsigned mark : 2;      /* kernel: an epoch that is staged and whose outbound
	                           SA was never put in place: the positive evidence
	                           that section 8.7 asks for */
	unsigned crashed : 1;   /* faults that it has had */
	unsigned rebooted : 1
};
Gateway gw[GATEWAYS];
#define me _pid
#define my gw[_pid]

/* An attempt to move. An epoch is used once, so everything of an attempt, be it
 * in a message or in a journal, is kept under its epoch. */
typedef Attempt {
	short sent;             /* the messages, bits below */
	unsigned finals : 7;    /* bit n: a final with counter n was sent */
	unsigned source : 2;
	unsigned target : 2;
	unsigned ceiling : 3;   /* in the stage, and in both journals */
	unsigned named : 1;     /* in the grant and the final: the incarnation that
	                           said "staged" */
	bit fenced              /* the operator's word to the source */
};
#define SLOTS (EPOCHS + 1)
Attempt at[SLOTS];
#define mine at[my.epoch]       /* the one that this gateway is at */

/* An Outcome says which incarnation it comes from: i is 0 or 1. */
#define STAGE           1
#define CLOSED          2
#define UNSEEN          4               /* with a status: not taken (section 3) */
#define LOST            8
#define STAGED(i)       (16 << (i))
#define STAGED_G(i)     (64 << (i))     /* with G (section 8.3) */
#define REFUSED(i)      (256 << (i))
#define ACTIVE(i)       (1024 << (i))
#define GRANTED         4096            /* the source wants the target to have it; */
#define ALLOWED         8192            /* so does the target: for law 5 only */
#define SENT(e, m)      ((at[e].sent & (m)) != 0)
#define ARRIVED(e, m)   (!silent && SENT(e, m))
#define SEND(e, m)      at[e].sent = at[e].sent | (m)

bit silent;             /* the network is dead for good */
bit fenced_one;

/* Only the laws read these. */
byte used;              /* bit n: number n was sent */
bit over;               /* since somebody last could send, an end was recorded */
bit excused;            /* a journal was lost, and maybe such a record with it */

#if GATEWAYS == 2
#define SENDERS ((gw[0].sa == LIVE) + (gw[1].sa == LIVE))
#define frozen  (OPEN(0) || OPEN(1))
#else
#define SENDERS ((gw[0].sa == LIVE) + (gw[1].sa == LIVE) + (gw[2].sa == LIVE))
#define frozen  (OPEN(0) || OPEN(1) || OPEN(2))
#endif
#define OPEN(g) (gw[g].rec == R_GRANTED && gw[g].st != OFF)

#if EPOCHS == 1
#define EACH_EPOCH(step) :: step(1)
#elif EPOCHS == 2
#define EACH_EPOCH(step) :: step(1) :: step(2)
#else
#define EACH_EPOCH(step) :: step(1) :: step(2) :: step(3)
#endif

#define MIN(a, b) ((a) < (b) -> (a) : (b))
#define MAX(a, b) ((a) > (b) -> (a) : (b))

#ifdef BROKEN_NO_CEILING
#define CEILING NUMBERS
#else
#define CEILING mine.ceiling
#endif

/* Where a law is broken the search ends, and the story says which. */
inline law(n, holds) {
	if
	:: holds
	:: else -> printf("law %d is broken\n", n); assert(false)
	fi
}

/* ---- The kernel -------------------------------------------------------- */

/* Law 1: no number is sent twice, whoever sends. */
inline packet() {
	d_step {
		my.sa == LIVE && my.ctr < my.lim ->
		my.ctr++;
		printf("%d: sends number %d\n", me, my.ctr);
		law(1, (used & (1 << my.ctr)) == 0);
		used = used | (1 << my.ctr)
	}
}

inline no_sa() { my.sa = NONE; my.ctr = 0; my.lim = 0 }

inline limit_reached() {
	d_step {
		my.sa == LIVE && my.ctr == my.lim ->
		printf("%d: the kernel deletes the SA at its limit\n", me);
		no_sa()
	}
}

/* Law 2: at most one gateway can send. */
inline go_live(limit) {
	my.sa = LIVE; my.lim = limit;
	over = false;
	law(2, SENDERS == 1)
}

/* ---- The source -------------------------------------------------------- */

#ifdef BROKEN_EPOCH_REUSED
#define USE_UP skip                     /* only a grant or an activation does */
#else
#define USE_UP my.hi = my.epoch
#endif

#ifdef BROKEN_ONWARD_BEFORE_CLOSED
#define CAN_STAGE (my.st == OWNER || my.st == UNCLOSED)
#else
#define CAN_STAGE (my.st == OWNER)
#endif

/* Sections 1 and 8.2: a fresh epoch, durably, then the stage. The kernel's limit
 * comes down to the ceiling before the stage leaves. Gateways 1 and 2 are alike
 * until the first attempt, so that one goes to 1. */
inline stage_at(p) {
	d_step {
		CAN_STAGE && my.sa == LIVE && p != me && my.hi < EPOCHS && (my.hi > 0 || p == 1) ->
		my.epoch = my.hi + 1; USE_UP;
		printf("%d: stages epoch %d at %d\n", me, my.epoch, p);
		my.rec = R_ALLOCATED;
		mine.source = me; mine.target = p;
		mine.ceiling = MIN(my.ctr + HEADROOM, NUMBERS);
		my.lim = CEILING;
		SEND(my.epoch, STAGE);
		my.st = STAGING
	}
}

/* Before its grant a source may give up at any time: its deadline is reason
 * enough. So "refused", "unseen" with a status, another incarnation and the
 * operator need no steps of their own here. And the withdraw that it sends makes
 * a target refuse, which that may do at any time as well. */
inline give_up() {
	d_step {
		my.st == STAGING ->
		printf("%d: gives up epoch %d before the grant\n", me, my.epoch);
		my.lim = (my.sa == LIVE -> NUMBERS : 0);
		my.st = OWNER
	}
}

#ifdef BROKEN_NO_AUTHORITY
#define CONFIRMED(i) ARRIVED(my.epoch, STAGED(i))
#else
#define CONFIRMED(i) ARRIVED(my.epoch, STAGED_G(i))
#endif

/* Section 8.3. That this step is taken is the operator's order. */
inline grant(i) {
	d_step {
		my.st == STAGING && my.sa == LIVE && CONFIRMED(i) ->
		printf("%d: grants epoch %d\n", me, my.epoch);
		my.hi = my.epoch;
#ifndef BROKEN_GRANT_NOT_RECORDED
		my.rec = R_GRANTED;
#endif
		mine.named = i; SEND(my.epoch, GRANTED);
		my.st = FREEZING
	}
}

/* One operation stops the SA and reads its counter. The final has the counter. */
inline freeze() {
	d_step {
		my.st == FREEZING && my.sa == LIVE ->
		printf("%d: freezes at %d and sends the final\n", me, my.ctr);
		my.sa = STOPPED;
		mine.finals = mine.finals | (1 << my.ctr);
		my.st = FROZEN
	}
}

#ifdef BROKEN_OUTCOME_OF_ANY_JOURNAL
#define HEARD(outcome) (ARRIVED(my.epoch, outcome(0)) || ARRIVED(my.epoch, outcome(1)))
#else
#define HEARD(outcome) ARRIVED(my.epoch, outcome(mine.named))
#endif
#ifdef BROKEN_RELEASE_BEFORE_ACTIVE
#define CAN_RELEASE true
#else
#define CAN_RELEASE HEARD(ACTIVE)
#endif

/* Sections 8.4 and 8.5: on "active", and not before, the SAs are forgotten, then
 * "moved" is recorded and "closed" sent. From here there is only the record. A
 * crash on the way leaves a source without SAs, as crash_with_stopped does. */
inline release() {
	d_step {
		my.st == FROZEN && CAN_RELEASE ->
		printf("%d: releases epoch %d and sends closed\n", me, my.epoch);
		no_sa();
		my.rec = R_MOVED;
		SEND(my.epoch, CLOSED);
		my.st = IDLE
	}
}

#if defined(BROKEN_THAW_ON_UNSEEN)
#define CAN_THAW (HEARD(REFUSED) || ARRIVED(my.epoch, UNSEEN))
#elif defined(BROKEN_THAW_ON_LOST)
#define CAN_THAW (HEARD(REFUSED) || ARRIVED(my.epoch, LOST))
#else
#define CAN_THAW HEARD(REFUSED)
#endif

/* Section 8.4: only "refused" thaws, with the exact counter; the record follows
 * the kernel. A source whose stopped SA is lost has nothing to thaw. */
inline thaw() {
	d_step {
		my.st == FROZEN && my.sa == STOPPED && CAN_THAW ->
		printf("%d: thaws epoch %d\n", me, my.epoch);
		my.st = THAWED;
		go_live(NUMBERS)
	}
}

inline record_thawed() {
	d_step { my.st == THAWED -> my.rec = R_THAWED; my.st = OWNER }
}

/* The operator powers the target off and says so: its SAs are gone. If it was
 * the owner, that is an end on the operator's record. */
inline fence() {
	d_step {
		my.st == FROZEN && FENCES == 1 && !fenced_one && gw[mine.target].st != OFF ->
		printf("%d: its operator fences %d\n", me, mine.target);
		fenced_one = true; mine.fenced = true; over = true;
		gw[mine.target].st = OFF;
#ifndef BROKEN_FENCE_CUTS_OFF
		gw[mine.target].sa = NONE; gw[mine.target].ctr = 0; gw[mine.target].lim = 0;
		gw[mine.target].mark = 0
#endif
	}
}
/* The fenced target may have used every number up to the ceiling; and this gateway
 * may be above it, after a thaw whose record a crash took away. Here the record
 * comes before the kernel: without it, an "active" from before the fence could
 * end the session after a restart, with "moved" as its last word. */
inline thaw_on_fence() {
	d_step {
		my.st == FROZEN && my.sa == STOPPED && mine.fenced ->
		printf("%d: decides to go on without %d\n", me, mine.target);
#ifdef BROKEN_FENCE_NOT_RECORDED
		go_on_above();
		my.st = THAWED
#else
		my.rec = R_THAWED;
		my.st = THAWING
#endif
	}
}

inline thaw_above() {
	d_step {
		my.st == THAWING ->
		go_on_above();
		my.st = OWNER
	}
}

inline go_on_above() {
	printf("%d: thaws epoch %d above its ceiling\n", me, my.epoch);
#if defined(BROKEN_THAW_AT_COUNTER)
	skip;
#elif defined(BROKEN_THAW_AT_CEILING)
	my.ctr = mine.ceiling;
#else
	my.ctr = MAX(my.ctr, mine.ceiling);
#endif
	go_live(NUMBERS)
}

inline end_here() {
	no_sa();
	my.rec = R_ENDED;
	my.st = IDLE;
	over = true
}

/* Section 8.4: the deadline ends what nobody answers for. After a crash between the
 * SA's end and the record it passes again. */
inline deadline() {
	d_step {
		my.st == FROZEN ->
		printf("%d: ends the session at its deadline\n", me);
		end_here()
	}
}

/* The SA ran into its limit; a freeze fails for that too. */
inline found_gone() {
	d_step {
		my.sa == NONE && (my.st == OWNER || my.st == STAGING || my.st == FREEZING ||
			my.st == THAWED || my.st == UNCLOSED) ->
		printf("%d: finds no SA and ends the session\n", me);
		end_here()
	}
}

/* Section 8.5: who has only the record answers "active" with "closed", whatever
 * ended its part. */
inline closed_from_record(e) {
	d_step {
		my.st == IDLE && at[e].source == me && e <= my.hi && !SENT(e, CLOSED) &&
			(ARRIVED(e, ACTIVE(0)) || ARRIVED(e, ACTIVE(1))) ->
		printf("%d: sends closed for epoch %d from its record\n", me, e);
		SEND(e, CLOSED)
	}
}

/* ---- The target -------------------------------------------------------- */

#ifdef BROKEN_EPOCH_UNCHECKED
#define FRESH(e) true
#else
#define FRESH(e) (e > my.hi)
#endif
#define OFFERED(e) (ARRIVED(e, STAGE) && at[e].target == me && FRESH(e))

/* Section 8.2: all is checked and reserved, the mark stands beside it, "may
 * activate" is durable; then "staged". A mark whose record a crash prevented is
 * nobody's, and taken away at the restart. */
inline take_stage(e) {
	d_step {
		my.st == IDLE && OFFERED(e) ->
		printf("%d: takes the stage of epoch %d\n", me, e);
		my.epoch = e; USE_UP;
		my.mark = e;
		my.rec = R_MAY_ACTIVATE;
		SEND(e, STAGED(my.inc));
		my.st = HELD
	}
}

/* G: by its policy at once, or by its own operator or the node's token later. */
inline allow() {
	d_step {
		my.st == HELD ->
		printf("%d: would activate epoch %d\n", me, my.epoch);
		SEND(my.epoch, STAGED_G(my.inc) | ALLOWED);
		my.st = READY
	}
}

/* Section 3, "unseen" with a status: the session is busy here or the sender has
 * no right. Nothing is recorded, so a later copy may still be taken. */
#if defined(NOT_TAKEN) || defined(BROKEN_THAW_ON_UNSEEN)
inline not_take(e) {
	d_step {
		my.st != OFF && OFFERED(e) && !SENT(e, UNSEEN) ->
		printf("%d: does not take the stage of epoch %d\n", me, e);
		SEND(e, UNSEEN)
	}
}
#endif

inline refuse() {
	printf("%d: refuses epoch %d\n", me, my.epoch);
	my.rec = R_REFUSED;
	SEND(my.epoch, REFUSED(my.inc));
	my.mark = 0;
	my.st = IDLE
}

/* A stage that was examined and is not good enough: its epoch is used up. */
inline refuse_stage(e) {
	d_step {
		my.st == IDLE && OFFERED(e) ->
#ifdef BROKEN_REFUSAL_NOT_RECORDED
		printf("%d: refuses epoch %d, and does not record it\n", me, e);
		my.hi = e;
		SEND(e, REFUSED(my.inc))
#else
		my.epoch = e; USE_UP;
		refuse()
#endif
	}
}

/* The stage's deadline, a withdraw, an operator, a newer stage, a final that does
 * not fit, a feature that cannot activate: each refuses what is staged. */
inline refuse_held() {
	d_step { my.st == HELD || my.st == READY -> refuse() }
}

#ifdef BROKEN_NO_AUTHORITY
#define CAN_ACTIVATE (my.st == HELD || my.st == READY)
#else
#define CAN_ACTIVATE (my.st == READY)
#endif
#ifdef BROKEN_FINAL_TO_ANY_JOURNAL
#define RIGHT_BASE true
#else
#define RIGHT_BASE (mine.named == my.inc)
#endif

/* Section 8.3. The mark goes before the outbound SA comes. */
inline take_final(n) {
	d_step {
		CAN_ACTIVATE && !silent && (mine.finals & (1 << n)) && RIGHT_BASE && n <= CEILING ->
		printf("%d: takes the final of epoch %d with counter %d\n", me, my.epoch, n);
		my.mark = 0;
		my.ctr = n;
		my.st = ACTIVATING
	}
}

/* Law 5: the grant of this epoch names this gateway, and both sides want it. */
inline activate() {
	d_step {
		my.st == ACTIVATING ->
		printf("%d: activates epoch %d\n", me, my.epoch);
		law(5, SENT(my.epoch, GRANTED) && mine.target == me && SENT(my.epoch, ALLOWED));
		my.hi = my.epoch;
		SEND(my.epoch, ACTIVE(my.inc));
		my.st = UNCLOSED;
		go_live(CEILING)
	}
}

inline record_active() {
	d_step { my.st == UNCLOSED && my.rec == R_MAY_ACTIVATE -> my.rec = R_ACTIVE }
}

/* Section 8.5: the source is gone, and the ceiling with it. */
inline take_closed() {
	d_step {
		my.st == UNCLOSED && ARRIVED(my.epoch, CLOSED) ->
		printf("%d: takes closed for epoch %d\n", me, my.epoch);
		my.rec = R_CLOSED;
		my.lim = (my.sa == LIVE -> NUMBERS : 0);
		my.st = OWNER
	}
}

/* ---- Faults ------------------------------------------------------------ */

/* A fault and the restart after it are one step. While a daemon is down others
 * act without it, and its kernel goes on: just as if it were up and slow. Section
 * 8.7 says what a restarted one may conclude, for SAs that outlive the daemon. */

#ifdef BROKEN_REFUSAL_NOT_RECORDED
#define NOTHING_TO_LOSE (my.st == IDLE && my.hi == my.epoch)
#else
#define NOTHING_TO_LOSE (my.st == IDLE)
#endif

/* It may have been active: never staged again and never called refused. */
inline lose_epoch() {
	printf("%d: has lost epoch %d\n", me, my.epoch);
	my.rec = R_LOST;
	SEND(my.epoch, LOST);
	over = over || SENT(my.epoch, GRANTED);
	my.ctr = 0;
	my.st = IDLE
}

inline restart_with_kernel() {
#ifdef BROKEN_REFUSAL_NOT_RECORDED
	my.hi = my.epoch;
#endif
	if
	:: my.rec == R_MAY_ACTIVATE && my.mark == my.epoch ->
		refuse()                        /* the mark proves it */
	:: my.rec == R_MAY_ACTIVATE && my.mark != my.epoch && my.sa == LIVE ->
		my.st = UNCLOSED
	:: my.rec == R_MAY_ACTIVATE && my.mark != my.epoch && my.sa != LIVE ->
#ifdef BROKEN_EMPTY_KERNEL
		refuse()
#else
		lose_epoch()
#endif
	:: my.rec == R_ACTIVE && my.sa == LIVE -> my.st = UNCLOSED
	:: my.rec == R_GRANTED && my.sa == LIVE -> my.st = FREEZING
	:: my.rec == R_GRANTED && my.sa != LIVE -> my.st = FROZEN
	:: my.rec == R_THAWED && my.sa == STOPPED -> my.st = THAWING
	:: (my.rec == R_OWNED || my.rec == R_ALLOCATED || my.rec == R_THAWED ||
		my.rec == R_CLOSED) && my.sa == LIVE ->
		my.lim = NUMBERS; my.st = OWNER         /* what was staged was not granted */
	:: (my.rec == R_OWNED || my.rec == R_ALLOCATED || my.rec == R_THAWED ||
		my.rec == R_CLOSED || my.rec == R_ACTIVE) && my.sa == NONE ->
		end_here()
#ifdef BROKEN_GRANT_NOT_RECORDED
	:: my.rec == R_ALLOCATED && my.sa == STOPPED -> my.st = OWNER; go_live(NUMBERS)
#endif
	:: else -> my.mark = 0; my.st = IDLE
	fi
}

inline crash() {
	d_step {
		my.st != OFF && !NOTHING_TO_LOSE && my.crashed < CRASHES ->
		printf("%d: its daemon crashes and restarts\n", me);
		my.crashed = 1;
		my.ctr = (my.sa == NONE -> 0 : my.ctr);
		restart_with_kernel()
	}
}

/* A daemon that freezes by taking the SA out of the kernel loses it so. */
inline crash_with_stopped() {
	d_step {
		my.sa == STOPPED && my.st != OFF && my.crashed < CRASHES ->
		printf("%d: its daemon crashes with the stopped SA, and restarts\n", me);
		my.crashed = 1;
		no_sa();
		restart_with_kernel()
	}
}

inline restart_without_kernel() {
	no_sa(); my.mark = 0;
	if
	:: my.rec == R_MAY_ACTIVATE ->
#ifdef BROKEN_REFUSED_AFTER_REBOOT
		refuse()
#else
		lose_epoch()
#endif
	:: my.rec == R_OWNED || my.rec == R_ALLOCATED || my.rec == R_GRANTED ||
		my.rec == R_THAWED || my.rec == R_ACTIVE || my.rec == R_CLOSED ->
		end_here()
	:: else -> my.st = IDLE
	fi
}

inline reboot() {
	d_step {
		my.st != OFF && !NOTHING_TO_LOSE && my.rebooted < REBOOTS ->
		printf("%d: reboots\n", me);
		my.rebooted = 1;
		restart_without_kernel()
	}
}

#ifdef FENCED_RETURNS
inline power_on() {
	d_step {
		my.st == OFF ->
		printf("%d: is powered on again\n", me);
		restart_without_kernel()
	}
}
#endif

/* The journal is lost with all the rest: another incarnation. */
inline reinstall() {
	d_step {
		my.st != OFF && REINSTALLS == 1 && !excused ->
		printf("%d: is installed anew, without its journal\n", me);
		excused = true;
		no_sa(); my.mark = 0;
		my.rec = R_NONE; my.epoch = 0; my.hi = 0;
		my.inc = 1;
		my.st = IDLE
	}
}

/* ---- A gateway --------------------------------------------------------- */

active [GATEWAYS] proctype gateway() {
	d_step {
		if
		:: me == 0 -> my.st = OWNER; my.rec = R_OWNED; go_live(NUMBERS)
		:: else
		fi
	}
end:	do
	:: packet()
	:: limit_reached()

	:: stage_at(0)
	:: stage_at(1)
#if GATEWAYS > 2
	:: stage_at(2)
#endif
	:: give_up()
	:: grant(0)
	:: grant(1)
	:: freeze()
	:: release()
	:: thaw()
	:: record_thawed()
	:: fence()
	:: thaw_on_fence()
	:: thaw_above()
#ifndef BROKEN_NO_DEADLINE
	:: deadline()
#endif
	:: found_gone()
	EACH_EPOCH(closed_from_record)

	EACH_EPOCH(take_stage)
	:: allow()
#if defined(NOT_TAKEN) || defined(BROKEN_THAW_ON_UNSEEN)
	EACH_EPOCH(not_take)
#endif
	EACH_EPOCH(refuse_stage)
	:: refuse_held()
	:: take_final(0)
	:: take_final(1)
	:: take_final(2)
	:: take_final(3)
#if NUMBERS > 3
	:: take_final(4)
	:: take_final(5)
	:: take_final(6)
#endif
	:: activate()
	:: record_active()
	:: take_closed()

	:: crash()
	:: crash_with_stopped()
	:: reboot()
#ifdef FENCED_RETURNS
	:: power_on()
#endif
	:: reinstall()
	od
}

#ifdef SILENCE
active proctype network() {
	silent = true; printf("from here on nobody hears anything\n")
}
#endif

#ifdef LIVENESS
/* Law 2: every freeze ends. No fairness is assumed: see README.md. */
ltl every_freeze_ends { [] (frozen -> <> !frozen) }
#else
/* Law 2 again: when nothing more can happen, nothing is frozen, and the session
 * is active somewhere, or a record says that it is over. */
active proctype at_rest() {
	timeout ->
	printf("nothing more can happen\n");
	law(2, !frozen && (SENDERS == 1 || over || excused))
}
#endif
