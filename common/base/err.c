#include "common/base/err.h"

#include <string.h>

static const char *const own_texts[] = {
	[HOY_EDIGEST - HOY_EDIGEST] = "digest mismatch",
	[HOY_EAUTH - HOY_EDIGEST] = "unauthorized",
	[HOY_EAMBIGUOUS - HOY_EDIGEST] = "ambiguous name",
	[HOY_EFORMAT - HOY_EDIGEST] = "invalid format",
	[HOY_EUNSUPPORTED - HOY_EDIGEST] = "not supported",
	[HOY_EREMOTE - HOY_EDIGEST] = "remote error",
	[HOY_EBUSY - HOY_EDIGEST] = "in use",
	[HOY_ENOIMAGE - HOY_EDIGEST] = "no such image",
};

const char *hoy_strerror(int code)
{
	if (code >= HOY_EDIGEST && code < HOY_ECODE_END)
		return own_texts[code - HOY_EDIGEST];
	return strerror(code);
}

/* What came from outside must not move the cursor or forge a second line. */
static void tidy(char *s, size_t size, int wanted)
{
	for (char *p = s; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	if (wanted >= (int)size && size > 4)
		memcpy(s + size - 4, "...", 4);
}

static void fill(struct hoy_err *err, int code, const char *fmt, va_list ap)
{
	err->code = code;
	tidy(err->msg, sizeof(err->msg), vsnprintf(err->msg, sizeof(err->msg), fmt, ap));
}

int hoy_fail(struct hoy_err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -code;
	va_start(ap, fmt);
	fill(err, code, fmt, ap);
	va_end(ap);
	return -code;
}

int hoy_fail_errno(struct hoy_err *err, int code, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	if (!err)
		return -code;
	va_start(ap, fmt);
	fill(err, code, fmt, ap);
	va_end(ap);
	len = strlen(err->msg);
	snprintf(err->msg + len, sizeof(err->msg) - len, ": %s", hoy_strerror(code));
	return -code;
}

int hoy_fail_prefix(struct hoy_err *err, const char *fmt, ...)
{
	char old[sizeof(err->msg)];
	va_list ap;
	size_t len;
	int code;

	if (!err)
		return -EIO;
	code = err->code;
	memcpy(old, err->msg, sizeof(old));
	va_start(ap, fmt);
	fill(err, code, fmt, ap);
	va_end(ap);
	len = strlen(err->msg);
	tidy(err->msg + len, sizeof(err->msg) - len,
	     snprintf(err->msg + len, sizeof(err->msg) - len, ": %s", old));
	return -code;
}

int hoy_fail_oom(struct hoy_err *err)
{
	return hoy_fail(err, ENOMEM, "out of memory");
}
