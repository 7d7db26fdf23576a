/*
 * common/base/err.h: errors are a negative number for the code and a sentence for the user.
 *
 * Leaf helpers return -errno. Whoever knows what failed and why fills the caller's struct hoy_err with
 * hoy_fail() or hoy_fail_errno() and returns their result; callers pass it up unchanged.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>

#include "common/base/cleanup.h"

/* Our own causes, beside errno's; hoy_strerror() knows their texts. */
enum {
	HOY_EDIGEST = 1024, /* content does not match its digest */
	HOY_EAUTH,	    /* credentials are missing or refused */
	HOY_EAMBIGUOUS,	    /* a name stands for more than one thing */
	HOY_EFORMAT,	    /* data is not in the format that it should have */
	HOY_EUNSUPPORTED,   /* understood, but not available here */
	HOY_EREMOTE,	    /* the other side answered with an error */
	HOY_EBUSY,	    /* in use by something that must end first */
	HOY_ENOIMAGE,	    /* the place is there, the image is not */
	HOY_ECODE_END,
};

struct hoy_err {
	int code;	/* 0, an errno or HOY_E*; positive */
	char msg[1024]; /* one line without "Error: " and full stop */
};
#define HOY_ERR_INIT { 0, "" }

/*
 * Record CODE and a formatted sentence in ERR (may be NULL) and return -CODE. Control characters in
 * the sentence become '?', and an overlong one is cut with "...".
 */
int hoy_fail(struct hoy_err *err, int code, const char *fmt, ...) HOY_PRINTF(3, 4);
/* The same, with ": " and the text of CODE behind the sentence. */
int hoy_fail_errno(struct hoy_err *err, int code, const char *fmt, ...) HOY_PRINTF(3, 4);
/* Put a formatted text and ": " in front of what ERR says; returns -ERR->code. */
int hoy_fail_prefix(struct hoy_err *err, const char *fmt, ...) HOY_PRINTF(2, 3);
/* -ENOMEM with its text. */
int hoy_fail_oom(struct hoy_err *err);
/* Is R the error of a disk or quota that is full? Removing things must work then too. */
static inline bool hoy_is_full(int r) { return r == -ENOSPC || r == -EDQUOT; }
/* The text of an errno or HOY_E* code; never NULL. */
const char *hoy_strerror(int code);
