/* snapshot.h - the order of a snapshot, shared by its writer and its reader.
 *
 * Handles (interned numbers, queue buckets, slots) are not written: what they name is written where
 * it is first met and called by its place in that order afterwards. So equal states give equal
 * bytes, whatever way they came about. Caches and indexes are rebuilt. */
#pragma once

#define SNAPSHOT_MAGIC "mains grid"
/* 2 ends with the hashes of the idempotency keys and the forgotten sites; 3 has what made way
 * (JOB_HAS_YIELD); 4 has what is known of work (rates.c).
 * 5 has tariffs, cuts and who waits for them; 6 has the tree of tenants. Older ones are still read.
 */
/* 7 has what expected fill has learned; 8 for whom room is being made; 9 had the one that was
 * promised a start; 10 has the promises; 11 has checkpoints that the network holds;
 * 12 has faults of sites and how often to save;
 * 13 has what owners let in, and who asks; 14 has what orders by what work needs;
 * 15 leases, what is in the dark, and who moves; 16 has attempts at several sites;
 * 17 what is moved for jobs, and sites' own queues; 18 who stands still for a cut;
 * 19 elastic jobs and spare nodes; 20 whether work is moved for gangs;
 * 21 spare nodes that come and go; 22 whether shares go by value;
 * 23 how far forecasts are to be trusted by the hour; 24 who keeps away from whom;
 * 25 cells that tenants are guaranteed, and promises made for them;
 * 26 how places were chosen; 27 which kinds of chip jobs are assigned to;
 * 28 how long work of each width runs. */
#define SNAPSHOT_VERSION 28u
#define SNAPSHOT_BYTES_MAX ((size_t)4 << 30)

/* What a live job has beside the plain fields. */
#define JOB_HAS_ARRAY 1u
#define JOB_HAS_DEPS 2u
#define JOB_HAS_PAST 4u
#define JOB_HAS_GRANT 8u
#define JOB_CANCEL_REQUESTED 16u
#define JOB_HAS_YIELD 32u     /* its cause, for whom, and how often */
#define JOB_HAS_WAIT 64u      /* for power */
#define JOB_HAS_RESERVED 128u /* money */
#define JOB_IS_BOUND 256u     /* to a site, or away from one: what it asked for beside it */
#define JOB_IS_ACROSS 512u    /* its attempt is at several sites: each part's grant */
#define JOB_HAS_WIDTH 1024u   /* what its user wants, and its next attempt's */
