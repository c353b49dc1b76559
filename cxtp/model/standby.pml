/*
 * A standby: gateway B has a copy of a session of A's, kept fresh, and goes on
 * with it when A is no more. Beside it, A may move the session to C, or to B
 * itself; and B, once it is the owner, may move it on to C.
 *
 * This builds on move.pml; the network, the crashes and the kernel are as there,
 * and README.md says what is modelled and what is left out. New here:
 *
 *   arm       A's durable decision that B may take epoch e over. From then on A
 *             is bound, until B's durable "refused e" or "lost e", or the
 *             operator's word that B is fenced.
 *   refresh   REFRESH(e, n, G). B records G, then acknowledges n, and only then
 *             A's limit in the kernel becomes G. The first one arms B.
 *   lease     (-DLEASE) an acknowledged refresh lets A send for LEASE_TIME from
 *             when A sent it. B may take over LEASE_TIME + DRIFT after the last
 *             one came. Without it, only the operator's word that A is fenced lets
 *             B take over.
 *
 * -DBROKEN_x takes one rule away. Each such variant must fail.
 */

#ifndef EPOCHS
#define EPOCHS 2        /* attempts of A, at B or at C, 1 or 2. B has one more */
#endif
#ifndef REFRESHES
#define REFRESHES 2     /* at most 3 */
#endif
#ifndef NUMBERS
#define NUMBERS 4       /* the highest sequence number, at most 7 */
#endif
#ifndef HEADROOM
#define HEADROOM 1      /* how far G is above A's counter */
#endif
#ifndef CRASHES
#define CRASHES 1       /* crashes of A's and B's daemons, in all */
#endif
#ifndef REBOOTS
#define REBOOTS 1       /* reboots of A and B, in all */
#endif
#ifndef REINSTALLS
#define REINSTALLS 0    /* may B lose its journal, once? 0 or 1 */
#endif
#ifndef FENCES
#define FENCES 1        /* may the operator fence A, and B? 0 or 1 */
#endif
/* -DLEASE: takeover by lease, beside that by fence.
 * -DOWNER_TELLS: takeover also when A, after a reboot or a deadline, has recorded
 *  its end and tells its standby so.
 * -DCAPPED: what a takeover by lease gives B is bounded until A is known to have
 *  ended, so that an A without a lease may go on when B is fenced.
 * -DSILENCE: from some time on nobody hears anything any more.
 * -DFENCED_RETURNS: a fenced gateway may be powered on again, with its journal. */

#ifndef LEASE_TIME
#define LEASE_TIME 1
#endif
#ifdef BROKEN_NO_DRIFT
#define DRIFT 0
#else
#define DRIFT 1         /* by how much B's clock may be fast in that time */
#endif

#define A 0
#define B 1
#define C 2
#define NAME (65 + _pid)    /* in the stories */

mtype:state = {
	IDLE, OWNER, FROZEN,
	HELD,           /* staged, and not armed: never taken over */
	ARMED,          /* staged, and a refresh is recorded: may be taken over */
	UNCLOSED, OFF
};

mtype:record = {
	R_NONE, R_OWNED, R_GRANTED, R_MOVED, R_ENDED,
	R_MAY_ACTIVATE, R_REFUSED, R_ACTIVE, R_LOST
};

mtype:sa = { NONE, LIVE, STOPPED };

typedef Gateway {
	mtype st = IDLE;
	mtype rec = R_NONE;
	mtype sa = NONE;
	unsigned epoch : 2;     /* durable: of the last record, or of an attempt */
	unsigned hi : 2;        /* durable: the highest allocated or examined */
	unsigned inc : 1;       /* durable: the journal's incarnation */
	bit staging;            /* source: the epoch is staged and not granted */
	unsigned arm : 2;       /* A, durable: the epoch that B may take over */
	unsigned g : 3;         /* B, durable: the G of the refreshes */
	unsigned serial : 2;    /* A: of the last refresh sent; B: of the last taken */
	unsigned ctr : 3;       /* kernel */
	unsigned lim : 3        /* kernel */
};
Gateway gw[3];
#define me _pid
#define my gw[_pid]

typedef Attempt {
	short sent;
	byte finals;            /* bit n: a final with counter n was sent */
	unsigned target : 2;
	unsigned ceiling : 3;   /* of a move to C */
	unsigned named : 1;     /* in the arm, its refreshes, the grant and the final:
	                           the incarnation that said "staged" */
	bit fenced;             /* the operator's word that B is no more */
	bit wanted              /* armed or granted, for law 5 */
};
/* A's epochs, and one above them for B's move: B jumps over whatever A may have
 * allocated meanwhile when it takes over, since A cannot tell it any more. */
#define JUMP EPOCHS
#define SLOTS (EPOCHS + 2)
Attempt at[SLOTS];
#define SOURCE(e) (e > EPOCHS -> B : A)
#define mine at[my.epoch]
#define armed at[my.arm]

typedef Refresh {
	unsigned epoch : 2;
	unsigned g : 3;
	unsigned age : 2;       /* at A, volatile: time since it was sent */
	bit ack
};
Refresh refresh[REFRESHES + 1];

#define STAGE           1
#define CLOSED          2
#define ACTIVE          4
#define STAGED(i)       (8 << (i))      /* i: the incarnation that says it */
#define REFUSED(i)      (32 << (i))
#define LOST(i)         (128 << (i))
#define SENT(e, m)      ((at[e].sent & (m)) != 0)
#define ARRIVED(e, m)   (!silent && SENT(e, m))
#define SEND(e, m)      at[e].sent = at[e].sent | (m)

bit silent;             /* the network is dead for good */
bit fenced_a;           /* the operator's word to B that A is no more */
bit fenced_b;
unsigned crashes : 2;
unsigned reboots : 2;

unsigned lease_a : 2;   /* what is left of A's lease, by A's clock, in its kernel */
unsigned lease_b : 2;   /* what B has still to wait, by B's clock */
bit fast;               /* B's clock has been fast since the last refresh */

/* Only the laws read these. */
byte used;              /* bit n: number n was sent */
bit over;               /* since somebody last could send, an end was recorded */
bit excused;            /* B's journal was lost, and maybe such a record with it */

#define SENDERS ((gw[A].sa == LIVE) + (gw[B].sa == LIVE) + (gw[C].sa == LIVE))
#define STUCK(x) (gw[x].st != OFF && (gw[x].rec == R_GRANTED || gw[x].sa == STOPPED))
#define frozen  (STUCK(A) || STUCK(B))

#if EPOCHS == 1
#define EACH_EPOCH(step) :: step(1) :: step(2)
#else
#define EACH_EPOCH(step) :: step(1) :: step(2) :: step(3)
#endif
#if REFRESHES == 1
#define EACH_REFRESH(step) :: step(1)
#elif REFRESHES == 2
#define EACH_REFRESH(step) :: step(1) :: step(2)
#else
#define EACH_REFRESH(step) :: step(1) :: step(2) :: step(3)
#endif
#if NUMBERS == 4
#define EACH_NUMBER(step) :: step(0) :: step(1) :: step(2) :: step(3) :: step(4)
#else
#define EACH_NUMBER(step) :: step(0) :: step(1) :: step(2) :: step(3) :: step(4) \
	:: step(5) :: step(6) :: step(7)
#endif

#define MIN(a, b) ((a) < (b) -> (a) : (b))
#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define ABOVE(n)  MIN((n) + HEADROOM, NUMBERS)

/* Where a law is broken the search ends, and the story says which. */
inline law(n, holds) {
	if
	:: holds
	:: else -> printf("law %d is broken\n", n); assert(false)
	fi
}

/* ---- The kernel, and how a session ends -------------------------------- */

inline packet() {
	d_step {
		my.sa == LIVE && my.ctr < my.lim ->
		my.ctr++;
		printf("%c: sends number %d\n", NAME, my.ctr);
		law(1, (used & (1 << my.ctr)) == 0);
		used = used | (1 << my.ctr)
	}
}

inline no_sa() { my.sa = NONE; my.ctr = 0; my.lim = 0 }

inline limit_reached() {
	d_step {
		my.sa == LIVE && my.ctr == my.lim ->
		printf("%c: the kernel deletes the SA at its limit\n", NAME);
		no_sa()
	}
}

inline go_live() {
	my.sa = LIVE;
	over = false;
	law(2, SENDERS == 1)
}

inline forget_attempts() {
	my.staging = false; my.arm = 0; my.g = 0; my.serial = 0;
	lease_a = (me == A -> 0 : lease_a)
}

inline end_here() {
#ifdef OWNER_TELLS
	at[my.arm].sent = at[my.arm].sent | (my.arm == 0 -> 0 : CLOSED);
#endif
	no_sa(); forget_attempts();
	my.rec = R_ENDED;
	my.st = IDLE;
	over = true
}

inline found_gone() {
	d_step {
		my.sa == NONE && (my.st == OWNER || my.st == UNCLOSED) ->
		printf("%c: finds no SA and ends the session\n", NAME);
		end_here()
	}
}

/* ---- An owner and its standby: A --------------------------------------- */

#ifdef BROKEN_ONWARD_BEFORE_CLOSED
#define CAN_STAGE (my.st == OWNER || my.st == UNCLOSED)
#else
#define CAN_STAGE (my.st == OWNER)
#endif

inline stage_at(p) {
	d_step {
		CAN_STAGE && my.sa == LIVE && !my.staging && p != me &&
			(me == A && my.hi < EPOCHS && (p == C || my.arm == 0) || me == B && my.hi == JUMP) ->
		my.hi++; my.epoch = my.hi; my.staging = true;
		printf("%c: stages epoch %d at %c\n", NAME, my.epoch, 65 + p);
		mine.target = p;
		mine.ceiling = (p == C -> ABOVE(my.ctr) : 0);
		SEND(my.epoch, STAGE)
	}
}

/* Before arm and grant: at any time (move.pml). */
inline give_up() {
	d_step {
		my.st == OWNER && my.staging ->
		printf("%c: gives up epoch %d\n", NAME, my.epoch);
		my.staging = false
	}
}

inline send_refresh() {
	my.serial++;
	printf("%c: sends refresh %d of epoch %d, G %d\n", NAME, my.serial, my.arm, ABOVE(my.ctr));
	refresh[my.serial].epoch = my.arm;
	refresh[my.serial].g = ABOVE(my.ctr);
	refresh[my.serial].age = 0
}

/* A is bound from here, heard or not: B has not the right before it has the first
 * refresh, and that has not left before A has recorded and lowered its limit. */
inline arm_standby(i) {
	d_step {
		my.st == OWNER && my.sa == LIVE && my.staging && mine.target == B &&
			my.serial < REFRESHES && ARRIVED(my.epoch, STAGED(i)) ->
		printf("%c: arms epoch %d\n", NAME, my.epoch);
		my.arm = my.epoch; my.staging = false;
		mine.named = i; mine.wanted = true;
#ifndef BROKEN_BOUND_FROM_ACK
		my.lim = ABOVE(my.ctr);
		lease_a = LEASE_TIME;
#endif
		send_refresh()
	}
}

inline refresh_again() {
	d_step {
		my.st == OWNER && my.sa != NONE && my.arm != 0 && my.serial < REFRESHES ->
		send_refresh();
#ifdef BROKEN_LIMIT_BEFORE_ACK
		my.lim = ABOVE(my.ctr)
#else
		skip
#endif
	}
}

#ifdef BROKEN_OUTCOME_OF_ANY_JOURNAL
#define SAYS(e, outcome) (ARRIVED(e, outcome(0)) || ARRIVED(e, outcome(1)))
#else
#define SAYS(e, outcome) ARRIVED(e, outcome(at[e].named))
#endif

#ifdef BROKEN_LEASE_FROM_ACK
#define LEASE_BY(n) LEASE_TIME
#else
#define LEASE_BY(n) (LEASE_TIME - refresh[n].age)
#endif

inline hear_ack(n) {
	d_step {
		!silent && refresh[n].ack && my.st == OWNER && my.sa != NONE && my.arm != 0 &&
			refresh[n].epoch == my.arm && (refresh[n].g > my.lim || LEASE_BY(n) > lease_a) ->
		printf("%c: hears refresh %d acknowledged\n", NAME, n);
#ifdef BROKEN_BOUND_FROM_ACK
		my.lim = refresh[n].g;
#else
		my.lim = MAX(my.lim, refresh[n].g);
#endif
		lease_a = MAX(lease_a, LEASE_BY(n));
		if
		:: my.sa == STOPPED && lease_a > 0 ->
			printf("%c: has a lease again\n", NAME);
			go_live()
		:: else
		fi
	}
}

/* Both have done with the refreshes, so no copy of them matters any more. */
inline forget_refreshes() {
	wipe(1);
#if REFRESHES > 1
	wipe(2);
#endif
#if REFRESHES > 2
	wipe(3);
#endif
	skip
}
inline wipe(n) {
	refresh[n].epoch = 0; refresh[n].g = 0; refresh[n].age = 0; refresh[n].ack = false
}

inline unbind() {
	my.lim = NUMBERS;
	if
	:: me == A -> my.arm = 0; lease_a = 0; forget_refreshes()
	:: else
	fi
}

/* "Refused": B never will. "Lost": it never will either, and it has not, because a
 * takeover is durable before it acts. So both free A, even one without a lease. */
inline hear_no_more() {
	d_step {
		my.st == OWNER && my.sa != NONE && my.arm != 0 &&
			(SAYS(my.arm, REFUSED) || SAYS(my.arm, LOST)) ->
		printf("%c: has no standby any more\n", NAME);
		unbind();
		if
		:: my.sa == STOPPED -> go_live()
		:: else
		fi
	}
}

/* The operator powers B off and says so. An A that can send knows that B had not
 * taken over. One without a lease does not. */
inline fence_b() {
	d_step {
		FENCES == 1 && !fenced_b && my.arm != 0 && my.st != OFF && gw[B].st != OFF ->
		printf("%c: its operator fences B\n", NAME);
		fenced_b = true; armed.fenced = true;
		over = over || (gw[B].st != IDLE && gw[B].st != HELD && gw[B].st != ARMED);
		gw[B].st = OFF;
		gw[B].sa = NONE; gw[B].ctr = 0; gw[B].lim = 0
	}
}

inline unbind_on_fence() {
	d_step {
		my.st == OWNER && my.sa == LIVE && my.arm != 0 && armed.fenced ->
		printf("%c: has no standby any more, it is fenced\n", NAME);
		unbind()
	}
}

/* The bound of what B can have used: its G is at most HEADROOM above A's limit;
 * with CAPPED, a takeover by lease uses at most HEADROOM more. */
#ifdef CAPPED
#define B_USED MIN(my.lim + 2 * HEADROOM, NUMBERS)
#define B_IS_BOUNDED true
#else
#define B_USED ABOVE(my.lim)
#ifdef LEASE
#define B_IS_BOUNDED (lease_a > 0)
#else
#define B_IS_BOUNDED true
#endif
#endif
#ifdef BROKEN_GO_ON_WITHOUT_LEASE
#undef B_IS_BOUNDED
#define B_IS_BOUNDED true
#endif

inline go_on_without_b() {
	d_step {
		(my.st == OWNER || my.st == FROZEN && my.epoch == my.arm) && my.sa == STOPPED &&
			my.arm != 0 && armed.fenced && B_IS_BOUNDED ->
		printf("%c: goes on without B, above %d\n", NAME, B_USED);
		my.rec = R_OWNED;
		my.ctr = MAX(my.ctr, B_USED);
		unbind();
		my.st = OWNER;
		go_live()
	}
}

/* No lease and no answer until the deadline. */
inline lease_deadline() {
	d_step {
		my.st == OWNER && my.sa == STOPPED ->
		printf("%c: has had no lease for too long and ends the session\n", NAME);
		end_here()
	}
}

/* ---- A source: A, or B once it is the owner (as in move.pml) ------------ */

/* The counter that the standby knows is at most its G: so the exact one may go
 * there, even when it takes over at the same time. */
inline grant_to_standby() {
	d_step {
		my.st == OWNER && my.sa == LIVE && my.arm != 0 && !my.staging ->
		my.epoch = my.arm;
		printf("%c: grants epoch %d to its standby\n", NAME, my.epoch);
		my.rec = R_GRANTED;
		stop()
	}
}

#ifdef BROKEN_MOVE_BESIDE_STANDBY
#define ALONE true
#else
#define ALONE (my.arm == 0)
#endif

inline grant() {
	d_step {
		CAN_STAGE && my.sa == LIVE && my.staging && mine.target == C && ALONE &&
			SAYS(my.epoch, STAGED) ->
		printf("%c: grants epoch %d\n", NAME, my.epoch);
		my.staging = false;
		my.rec = R_GRANTED;
		stop()
	}
}

inline stop() {
	mine.wanted = true;
	printf("%c: freezes at %d and sends the final\n", NAME, my.ctr);
	my.sa = STOPPED;
	mine.finals = mine.finals | (1 << my.ctr);
	my.st = FROZEN
}

inline release() {
	printf("%c: hears that epoch %d is active, releases and sends closed\n", NAME, my.epoch);
	no_sa(); forget_attempts();
	if
	:: me == A -> forget_refreshes()
	:: else
	fi;
	my.rec = R_MOVED;
	SEND(my.epoch, CLOSED);
	my.st = IDLE
}

inline hear_active() {
	d_step { my.st == FROZEN && ARRIVED(my.epoch, ACTIVE) -> release() }
}

/* It was taken over: an owner that hears so ends its part. */
inline hear_takeover() {
	d_step {
		my.st == OWNER && my.arm != 0 && ARRIVED(my.arm, ACTIVE) ->
		law(2, my.sa != LIVE);
		my.epoch = my.arm;
		release()
	}
}

inline thaw() {
	d_step {
		my.st == FROZEN && my.sa == STOPPED && SAYS(my.epoch, REFUSED) ->
		printf("%c: thaws epoch %d\n", NAME, my.epoch);
		my.rec = R_OWNED;
		unbind();
		my.st = OWNER;
		go_live()
	}
}

inline deadline() {
	d_step {
		my.st == FROZEN ->
		printf("%c: ends the session at its deadline\n", NAME);
		end_here()
	}
}

inline closed_from_record(e) {
	d_step {
		my.st == IDLE && SOURCE(e) == me && SENT(e, STAGE) && e <= my.hi &&
			!SENT(e, CLOSED) && ARRIVED(e, ACTIVE) ->
		printf("%c: sends closed for epoch %d from its record\n", NAME, e);
		SEND(e, CLOSED)
	}
}

/* ---- A target: B and C (as in move.pml) -------------------------------- */

#define OFFERED(e) (ARRIVED(e, STAGE) && at[e].target == me && e > my.hi)

inline take_stage(e) {
	d_step {
		my.st == IDLE && OFFERED(e) ->
		printf("%c: takes the stage of epoch %d\n", NAME, e);
		my.epoch = e; my.hi = e;
		my.g = 0; my.serial = 0;
		my.rec = R_MAY_ACTIVATE;
		SEND(e, STAGED(my.inc));
		my.st = HELD
	}
}

inline stand_down() {
	if
	:: me == B -> my.g = 0; my.serial = 0; lease_b = 0; fast = false
	:: else
	fi
}

inline refuse() {
	printf("%c: refuses epoch %d\n", NAME, my.epoch);
	my.rec = R_REFUSED;
	SEND(my.epoch, REFUSED(my.inc));
	stand_down();
	my.st = IDLE
}

/* At any time: its operator, a withdraw, a newer stage. */
inline refuse_held() {
	d_step { my.st == HELD || my.st == ARMED -> refuse() }
}

#ifdef BROKEN_REFRESH_TO_ANY_JOURNAL
#define RIGHT_BASE true
#else
#define RIGHT_BASE (mine.named == my.inc)
#endif
#define LIMIT_HERE (me == B -> my.g : mine.ceiling)

inline take_final(n) {
	d_step {
		(my.st == ARMED || my.st == HELD && me == C) && !silent && (mine.finals & (1 << n)) &&
			mine.named == my.inc && n <= LIMIT_HERE ->
		printf("%c: activates epoch %d at %d\n", NAME, my.epoch, n);
		my.rec = R_ACTIVE;
		my.ctr = n;
		my.lim = LIMIT_HERE;
		act()
	}
}

inline act() {
	law(5, mine.wanted && mine.target == me);
	stand_down();
	SEND(my.epoch, ACTIVE);
	my.st = UNCLOSED;
	go_live()
}

/* A fenced source is as good as a closed one. */
inline take_closed() {
	d_step {
		my.st == UNCLOSED && (ARRIVED(my.epoch, CLOSED) || me == B && fenced_a) ->
		printf("%c: is the owner of epoch %d, nobody else can be\n", NAME, my.epoch);
		my.rec = R_OWNED;
		my.lim = (my.sa == LIVE -> NUMBERS : 0);
		my.hi = (me == B -> JUMP : my.hi);
		my.st = OWNER
	}
}

/* ---- A standby: B ------------------------------------------------------ */

inline take_refresh(n) {
	d_step {
		!silent && (my.st == HELD || my.st == ARMED) && refresh[n].epoch == my.epoch &&
			RIGHT_BASE && n > my.serial ->
		printf("%c: takes refresh %d, G %d\n", NAME, n, refresh[n].g);
		my.serial = n;
		my.g = MAX(my.g, refresh[n].g);
		my.st = ARMED;
#ifdef LEASE
		lease_b = LEASE_TIME + DRIFT; fast = false;
#endif
		refresh[n].ack = true
	}
}

#ifdef LEASE
#define NO_LEASE (lease_b == 0)
#else
#define NO_LEASE false
#endif
#ifdef OWNER_TELLS
#define TOLD ARRIVED(my.epoch, CLOSED)
#else
#define TOLD false
#endif
#ifdef BROKEN_TAKEOVER_ON_SILENCE
#define MAY_TAKE_OVER true
#else
#define MAY_TAKE_OVER (fenced_a || NO_LEASE || TOLD)
#endif
#ifdef BROKEN_TAKEOVER_UNARMED
#define TAKEABLE (my.st == ARMED || my.st == HELD)
#else
#define TAKEABLE (my.st == ARMED)
#endif

/* "Active" is durable before the SA comes, and the jump of the epochs with it. */
inline take_over() {
	d_step {
		TAKEABLE && MAY_TAKE_OVER ->
		printf("%c: takes epoch %d over, above %d\n", NAME, my.epoch, my.g);
		my.rec = R_ACTIVE; my.hi = JUMP;
#ifdef BROKEN_TAKEOVER_BELOW_G
		my.ctr = my.g - HEADROOM;
#else
		my.ctr = my.g;
#endif
#ifdef CAPPED
		my.lim = ABOVE(my.g);
		act()
#else
		my.lim = NUMBERS;
		act();
		my.st = OWNER
#endif
#ifdef BROKEN_TAKEOVER_NOT_RECORDED
		; my.rec = R_MAY_ACTIVATE
#endif
	}
}

/* The operator powers A off and tells B, whatever A was doing. */
inline fence_a() {
	d_step {
		FENCES == 1 && !fenced_a && gw[A].st != OFF && gw[A].rec != R_NONE ->
		printf("%c: its operator fences A\n", NAME);
		fenced_a = true;
		over = over || gw[A].st != IDLE;
		gw[A].st = OFF; gw[A].rec = R_ENDED;
		gw[A].staging = false; gw[A].arm = 0; gw[A].serial = 0; gw[A].epoch = 0; gw[A].hi = 0;
		lease_a = 0;
#ifndef BROKEN_FENCE_CUTS_OFF
		gw[A].sa = NONE; gw[A].ctr = 0; gw[A].lim = 0
#endif
	}
}

/* ---- Faults ------------------------------------------------------------ */

inline forget_ages() {
	if
	:: me == A ->
		refresh[1].age = LEASE_TIME;
#if REFRESHES > 1
		refresh[2].age = LEASE_TIME;
#endif
#if REFRESHES > 2
		refresh[3].age = LEASE_TIME;
#endif
#ifdef BROKEN_SERIAL_REUSED
		my.serial = 0;
#endif
#ifdef BROKEN_ARM_NOT_RECORDED
		my.arm = (my.rec == R_GRANTED -> my.arm : 0);
		my.lim = (my.sa == LIVE && my.arm == 0 -> NUMBERS : my.lim);
#endif
		my.staging = false
	:: else -> my.staging = false
	fi
}

inline lose_epoch() {
	printf("%c: has lost epoch %d\n", NAME, my.epoch);
	my.rec = R_LOST;
	SEND(my.epoch, LOST(my.inc));
	over = true;
	no_sa(); stand_down();
	my.st = IDLE
}

/* As in move.pml. A standby that restarts has its mark and refuses; an owner is
 * still bound by what it armed, and its limit and its lease are in the kernel. */
inline restart_with_kernel() {
	forget_ages();
	if
	:: my.rec == R_MAY_ACTIVATE -> refuse()
	:: my.rec == R_ACTIVE && my.sa == LIVE -> my.st = UNCLOSED
	:: my.rec == R_GRANTED -> my.st = FROZEN
	:: my.rec == R_OWNED && my.sa != NONE -> my.st = OWNER
	:: (my.rec == R_OWNED || my.rec == R_ACTIVE) && my.sa == NONE ->
		end_here()
	:: else -> my.st = IDLE
	fi
}

inline crash() {
	d_step {
		my.st != OFF && my.st != IDLE && crashes < CRASHES ->
		printf("%c: its daemon crashes and restarts\n", NAME);
		crashes++;
		my.ctr = (my.sa == NONE -> 0 : my.ctr);
		restart_with_kernel()
	}
}

inline crash_with_stopped() {
	d_step {
		my.sa == STOPPED && my.st != OFF && crashes < CRASHES ->
		printf("%c: its daemon crashes with the stopped SA, and restarts\n", NAME);
		crashes++;
		no_sa();
		restart_with_kernel()
	}
}

inline restart_without_kernel() {
	no_sa(); my.staging = false;
	if
	:: my.rec == R_MAY_ACTIVATE -> lose_epoch()
	:: my.rec == R_OWNED || my.rec == R_GRANTED || my.rec == R_ACTIVE ->
		end_here()
	:: else -> my.st = IDLE
	fi
}

inline reboot() {
	d_step {
		my.st != OFF && my.st != IDLE && reboots < REBOOTS ->
		printf("%c: reboots\n", NAME);
		reboots++;
		restart_without_kernel()
	}
}

/* B's journal is lost with all the rest: another incarnation. */
inline reinstall() {
	d_step {
		my.st != OFF && REINSTALLS == 1 && !excused ->
		printf("%c: is installed anew, without its journal\n", NAME);
		excused = true;
		no_sa(); stand_down(); my.staging = false;
		my.rec = R_NONE; my.epoch = 0; my.hi = 0;
		my.inc = 1;
		my.st = IDLE
	}
}

#ifdef FENCED_RETURNS
inline power_on() {
	d_step {
		my.st == OFF ->
		printf("%c: is powered on again\n", NAME);
		restart_without_kernel()
	}
}
#endif

/* ---- Time -------------------------------------------------------------- */

#ifdef BROKEN_LEASE_IN_DAEMON
/* The daemon stops the SA, when it comes to it. */
inline stop_without_lease() { skip }
inline daemon_stops() {
	d_step {
		my.st == OWNER && my.sa == LIVE && my.arm != 0 && lease_a == 0 ->
		printf("A: has no lease any more and stops\n");
		my.sa = STOPPED
	}
}
#else
/* The kernel stops the SA, whatever the daemon does. */
inline stop_without_lease() {
	if
	:: lease_a == 0 && gw[A].arm != 0 && gw[A].sa == LIVE ->
		printf("A: has no lease any more and stops\n");
		gw[A].sa = STOPPED
	:: else
	fi
}
#endif

#define OLDER(n) refresh[n].age = (refresh[n].epoch == 0 -> 0 : MIN(refresh[n].age + 1, LEASE_TIME))

inline tick() {
	d_step {
		lease_a > 0 || lease_b > 0 ->
		printf("time passes\n");
		lease_a = (lease_a > 0 -> lease_a - 1 : 0);
		lease_b = (lease_b > 0 -> lease_b - 1 : 0);
		OLDER(1);
#if REFRESHES > 1
		OLDER(2);
#endif
#if REFRESHES > 2
		OLDER(3);
#endif
		stop_without_lease()
	}
}

/* B's clock is ahead, once in the time between two refreshes. */
inline tick_of_b() {
	d_step {
		lease_b > 0 && !fast ->
		printf("time passes by B's clock alone\n");
		fast = true;
		lease_b--
	}
}

/* ---- The gateways ------------------------------------------------------ */

active proctype a() {
	d_step { my.st = OWNER; my.rec = R_OWNED; my.lim = NUMBERS; go_live() }
end:	do
	:: packet()
	:: limit_reached()
	:: found_gone()
	:: stage_at(B)
	:: stage_at(C)
	:: give_up()
	:: arm_standby(0)
#if REINSTALLS > 0
	:: arm_standby(1)
#endif
	:: refresh_again()
	EACH_REFRESH(hear_ack)
	:: hear_no_more()
	:: fence_b()
	:: unbind_on_fence()
	:: go_on_without_b()
	:: grant_to_standby()
	:: grant()
	:: hear_active()
	:: hear_takeover()
	:: thaw()
	:: deadline()
	:: lease_deadline()
	EACH_EPOCH(closed_from_record)
	:: crash()
	:: crash_with_stopped()
	:: reboot()
#ifdef BROKEN_LEASE_IN_DAEMON
	:: daemon_stops()
#endif
#ifdef FENCED_RETURNS
	:: power_on()
#endif
	od
}

active proctype b() {
end:	do
	:: packet()
	:: limit_reached()
	:: found_gone()
	EACH_EPOCH(take_stage)
	:: refuse_held()
	EACH_REFRESH(take_refresh)
	:: take_over()
	:: fence_a()
	EACH_NUMBER(take_final)
	:: take_closed()
	:: stage_at(C)
	:: give_up()
	:: grant()
	:: hear_active()
	:: thaw()
	:: deadline()
	EACH_EPOCH(closed_from_record)
	:: crash()
	:: crash_with_stopped()
	:: reboot()
	:: reinstall()
#ifdef FENCED_RETURNS
	:: power_on()
#endif
	od
}

active proctype c() {
end:	do
	:: packet()
	:: limit_reached()
	:: found_gone()
	EACH_EPOCH(take_stage)
	:: refuse_held()
	EACH_NUMBER(take_final)
	:: take_closed()
	od
}

#ifdef LEASE
active proctype clock() {
end:	do
	:: tick()
	:: tick_of_b()
	od
}
#endif

#ifdef SILENCE
active proctype network() {
	silent = true; printf("from here on nobody hears anything\n")
}
#endif

#ifdef LIVENESS
ltl every_freeze_ends { [] (frozen -> <> !frozen) }
#else
active proctype at_rest() {
	timeout ->
	printf("nothing more can happen\n");
	law(2, !frozen && (SENDERS == 1 || over || excused))
}
#endif
