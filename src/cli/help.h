/* help.h - what the table of commands becomes: help texts, man pages, completions, docs/cli.md.
 * All append to a buffer, whose `failed` tells of short memory. */
#pragma once

#include "cli/cli.h"

/* `mains help`: all commands that are not hidden. */
void help_print_overview(struct buf *out);
/* `mains help CMD`, `mains CMD --help`; lines of at most `width` columns. */
void help_print_command(const struct cli_command *command, uint32_t width, struct buf *out);
/* roff of the man macros: mains(1) for NULL, else mains-CMD(1). */
void help_print_man(const struct cli_command *command, struct buf *out);
/* The whole of docs/cli.md. */
void help_print_markdown(struct buf *out);

/* A script for "bash", "zsh" or "fish". -EINVAL for another. */
int help_print_completion(const char *shell, struct buf *out, struct err *err);
