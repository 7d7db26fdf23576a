/*
 * common/cli/complete.h: what a shell offers for the word that is being typed, in the protocol of cobra's programs (podman's):
 * a candidate a line, with a tab and its text behind, and at last ":4", or ":0" where files are what is wanted.
 */
#pragma once
#include "common/cli/opts.h"

/* Those of the options O that begin with CUR ("--n"). */
void hoy_complete_options(const struct hoy_opt *o, const char *cur);
/* One candidate, if it begins with CUR. TEXT may be NULL. */
void hoy_complete_word(const char *word, const char *text, const char *cur);
/* The end; FILES: names of files will do, too. */
void hoy_complete_end(bool files);
/* For the verb V, whose N arguments so far are ARGV, and CUR. */
void hoy_complete_verb(const struct hoy_verb *v, int n, char **argv, const char *cur);
