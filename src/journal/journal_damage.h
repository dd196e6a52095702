/* journal_damage.h - one wording for a damaged record, shared by the folder's own files. */
#pragma once

#include "journal/journal.h"

/* -EBADMSG: names the journal, the record, what is wrong with it and what to do. */
int journal_damage(const struct journal *journal, uint64_t seq, const char *what, struct err *err);
