/* cmd-build/fetch.h: what is elsewhere: files of web servers and git repositories, for ADD and for contexts. */
#pragma once
#include <stdbool.h>

struct build;

/* Is TEXT an address of a git repository: "https://HOST/X.git#REF:DIR", "git@HOST:X", "git://", "ssh://"? */
bool is_git(const char *text);
/* Is it one of a web server, or of a repository? */
bool is_remote(const char *text);
/*
 * Get URL into the build's directory, once per build; *RET is the name that it has there: a file with its time, or a directory
 * with the repository's files at the commit and directory that URL names (and .git, if KEEP). Sentences are in b->err, or were told,
 * with WHAT (or NULL) in front.
 */
int fetch(struct build *b, const char *url, bool keep, const char *what, const char **ret);
/* The same, to PATH; of a repository, *RET is the directory that was asked for, in new memory. */
int fetch_to(struct build *b, const char *url, bool keep, const char *what, const char *path, char **ret);
/* The file of a web server that is at PATH so, by the name that URL ends in: in a directory of its own. *RET is in new memory. */
int fetch_name(struct build *b, const char *url, const char *path, char **ret);
