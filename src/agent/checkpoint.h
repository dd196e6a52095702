/* checkpoint.h - a job's checkpoint, before its attempt and after: laid into the work folder to go
 * on from, and kept when that folder goes. */
#pragma once

#include "base/err.h"

struct supervisor;

/* Say where the work folder is (attempts/.../place), and put what was staged for this attempt into
 * its place there, instead of what is there, unless that is as new: then it stays. Sets
 * sup->restored when there is something to go on from. */
int checkpoint_restore(struct supervisor *sup, struct err *err);
/* All processes are gone, and a private work folder will be, too: its checkpoint to the attempt's
 * saved/, unless the job has ended well. Where that is another file system it is not kept. */
void checkpoint_keep(struct supervisor *sup);
