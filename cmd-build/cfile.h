/* cmd-build/cfile.h: a Containerfile as a list of instructions. The text is hostile. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "common/base/strv.h"

struct hoy_err;

#define CFILE_MAX ((size_t)8 << 20)

struct cf_doc { /* a here-document */
	char *name, *content;
	bool expand; /* its name was not quoted */
	bool chomp;  /* <<-: leading tabs are not part of it */
};

struct cf_instr {
	unsigned line;	       /* of its first word, from 1 */
	char *word;	       /* in capitals */
	char *text;	       /* the instruction as written, on one line: what the history tells, spaces at its end too */
	char *rest;	       /* what follows word and flags */
	struct hoy_strv flags; /* "--chown=1:2", as written */
	char *file;	       /* of another Containerfile: its name; or NULL */
	/*
	 * Its arguments, before substitution: the elements of a JSON form (json is set); KEY, VALUE, KEY, VALUE of ENV and LABEL;
	 * words of ADD, ARG, COPY, EXPOSE, FROM and VOLUME; else nothing or one text. HEALTHCHECK: its type, then the command.
	 */
	struct hoy_strv args;
	bool json;
	struct cf_doc *docs;
	size_t n_docs;
};

struct cfile {
	char *name; /* for messages */
	char escape;
	struct cf_instr *v;
	size_t n;
};
#define CFILE_INIT { NULL, '\\', NULL, 0 }
void cfile_release(struct cfile *f);
static inline void cleanup_cfile_(struct cfile *f) { cfile_release(f); }
#define cleanup_cfile __attribute__((cleanup(cleanup_cfile_)))

/*
 * Parse LEN bytes of TEXT into F, which is blank; NAME is what messages call it. 0, or -EINVAL or -HOY_EFORMAT with a sentence
 * that begins with "NAME:LINE: ".
 */
int cfile_parse(struct cfile *f, const char *name, const char *text, size_t len, struct hoy_err *err);
/* Parse the one instruction TEXT, which an ONBUILD brought, and append it to F. */
int cfile_append(struct cfile *f, const char *text, struct hoy_err *err);
/* Record CODE and a sentence about instruction I of F: "NAME:LINE: WORD: ..." Returns -CODE. */
int cfile_fail(const struct cfile *f, const struct cf_instr *i, struct hoy_err *err, int code, const char *fmt, ...) HOY_PRINTF(5, 6);
/* The value of the flag NAME ("chown") of I, "" for one without a value, or NULL. */
const char *cf_flag(const struct cf_instr *i, const char *name);
/* The instructions of MORE, which is blank then, go behind those of F. */
int cfile_join(struct cfile *f, struct cfile *more, struct hoy_err *err);
/* The name of the file that I comes from. */
const char *cf_name(const struct cfile *f, const struct cf_instr *i);
/* The flag NAME of I as a bool, UNSAID without it; -EINVAL for another value. */
int cf_bool(const struct cfile *f, const struct cf_instr *i, const char *name, bool unsaid, bool *ret, struct hoy_err *err);
/* What --from and the from= of --mount name in I, not substituted, appended to RET. */
void cf_sources(const struct cf_instr *i, struct hoy_strv *ret);
