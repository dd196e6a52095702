/* spec_source.h - where an input of a job comes from, as its `from` says it:
 *
 *     /a/path, ./a/path         of the submitting machine
 *     store:ID[/PATH]           of the network's store: a tree, or what PATH names in it
 *     artifact:JOB[/PATH]       what an earlier job of the same tenant left
 *     https://..., http://...   fetched by the site
 *     site:NAME:/a/path         of the machine of a site: the job runs there
 *     rclone:REMOTE:PATH, s3://BUCKET/PATH   fetched by the submitting machine, through rclone
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum spec_source {
    SOURCE_PATH,
    SOURCE_STORE,
    SOURCE_ARTIFACT,
    SOURCE_WEB,
    SOURCE_SITE,
    SOURCE_RCLONE,
    SOURCE_UNKNOWN /* a scheme that nobody knows */
};
enum spec_source spec_source_of(const char *from);
/* Is it right in form? What is wrong, without the place. A path is not looked at. */
int spec_source_check(const char *from, struct err *err);
/* What comes after what is named first: of a store or artifact the PATH ("" = all of it), of a site
 * its path, of a web address its last name ("" = none). Into `from`. */
const char *spec_source_path(const char *from);
/* ID, JOB or NAME: where it begins, and its length. */
const char *spec_source_name(const char *from, size_t *len_out);
/* "sha256:HEX" or "blake2b:HEX" (256 bits): true when it is one. */
bool spec_digest_is_valid(const char *text);
