#include "common/data/ref.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/err.h"
#include "common/data/digest.h"

void hoy_ref_release(struct hoy_ref *r)
{
	free(r->domain);
	free(r->path);
	free(r->tag);
	free(r->digest);
	*r = (struct hoy_ref)HOY_REF_INIT;
}

static bool low(char c) { return (c >= 'a' && c <= 'z') || isdigit((unsigned char)c); }

/* path components: [a-z0-9]+ joined by one ".", one or two "_", or any "-" */
static bool valid_path(const char *s, size_t len)
{
	size_t i = 0;

	while (i < len) {
		size_t run;

		if (!low(s[i]))
			return false;
		while (i < len && low(s[i]))
			i++;
		if (i == len)
			return true;
		if (s[i] == '-') {
			while (i < len && s[i] == '-')
				i++;
		} else if (s[i] == '_') {
			for (run = 0; i < len && s[i] == '_'; i++)
				run++;
			if (run > 2)
				return false;
		} else if (s[i] == '.' || s[i] == '/') {
			i++;
		} else {
			return false;
		}
	}
	return false;
}

static bool valid_domain(const char *s, size_t len)
{
	size_t i = 0;

	if (len && s[0] == '[') { /* IPv6 */
		for (i = 1; i < len && (isxdigit((unsigned char)s[i]) || s[i] == ':'); i++)
			;
		if (i == len || s[i++] != ']')
			return false;
	} else {
		for (; i < len && (isalnum((unsigned char)s[i]) || s[i] == '.' || s[i] == '-'); i++)
			;
		if (!i || s[0] == '-' || s[0] == '.' || s[i - 1] == '-' || s[i - 1] == '.')
			return false;
	}
	if (i < len && s[i] == ':')
		for (i++; i < len && isdigit((unsigned char)s[i]); i++)
			;
	return i == len && len && s[len - 1] != ':';
}

static bool valid_tag(const char *s)
{
	size_t i;

	for (i = 0; s[i]; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '_' && !(i && (s[i] == '.' || s[i] == '-')))
			return false;
	return i > 0 && i <= 128;
}

/* The first component is a host if it looks like one: a dot, a port, or "localhost". */
static size_t domain_len(const char *s, size_t len)
{
	const char *slash = memchr(s, '/', len);
	size_t n = slash ? (size_t)(slash - s) : 0;

	if (!slash)
		return 0;
	if (memchr(s, '.', n) || memchr(s, ':', n) || (n == 9 && !memcmp(s, "localhost", 9)))
		return n;
	for (size_t i = 0; i < n; i++)
		if (isupper((unsigned char)s[i]))
			return n;
	return 0;
}

int hoy_ref_parse(struct hoy_ref *ref, const char *name, struct hoy_err *err)
{
	const char *at = strchr(name, '@'), *rest = name, *tag = NULL;
	size_t len = at ? (size_t)(at - name) : strlen(name), dlen;

	if (at && !hoy_is_digest(at + 1))
		return hoy_fail(err, HOY_EFORMAT, "invalid reference '%s': its digest is malformed", name);
	dlen = domain_len(name, len);
	if (dlen && !valid_domain(name, dlen))
		return hoy_fail(err, HOY_EFORMAT, "invalid reference '%s': its registry is malformed", name);
	if (dlen) {
		rest = name + dlen + 1;
		len -= dlen + 1;
	}
	for (size_t i = len; i-- > 0 && rest[i] != '/';)
		if (rest[i] == ':') {
			tag = rest + i + 1;
			len = i;
			break;
		}
	if (len > 255 || !valid_path(rest, len))
		return hoy_fail(err, HOY_EFORMAT, "invalid reference format: '%s'", name);
	ref->domain = dlen ? strndup(name, dlen) : NULL;
	ref->path = strndup(rest, len);
	ref->tag = tag ? strndup(tag, at ? (size_t)(at - tag) : strlen(tag)) : NULL;
	ref->digest = at ? strdup(at + 1) : NULL;
	if (!ref->path || (dlen && !ref->domain) || (tag && !ref->tag) || (at && !ref->digest)) {
		hoy_ref_release(ref);
		return hoy_fail_oom(err);
	}
	if (ref->tag && !valid_tag(ref->tag)) {
		hoy_ref_release(ref);
		return hoy_fail(err, HOY_EFORMAT, "invalid reference '%s': its tag is malformed", name);
	}
	return 0;
}

int hoy_ref_normalize(struct hoy_ref *ref)
{
	if (!ref->domain || !strcmp(ref->domain, "index.docker.io")) {
		free(ref->domain);
		ref->domain = strdup("docker.io");
	}
	if (ref->domain && !strcmp(ref->domain, "docker.io") && !strchr(ref->path, '/')) {
		char *p = hoy_asprintf("library/%s", ref->path);

		if (!p)
			return -ENOMEM;
		free(ref->path);
		ref->path = p;
	}
	if (!ref->tag && !ref->digest)
		ref->tag = strdup("latest");
	return ref->domain && (ref->tag || ref->digest) ? 0 : -ENOMEM;
}

char *hoy_ref_string(const struct hoy_ref *r)
{
	return hoy_asprintf("%s%s%s%s%s%s%s", r->domain ? r->domain : "", r->domain ? "/" : "", r->path, r->tag ? ":" : "",
			    r->tag ? r->tag : "", r->digest ? "@" : "", r->digest ? r->digest : "");
}

char *hoy_ref_repo(const struct hoy_ref *r)
{
	return hoy_asprintf("%s%s%s", r->domain ? r->domain : "", r->domain ? "/" : "", r->path);
}

bool hoy_names_transport(const char *name)
{
	static const char *const transports[] = { "docker://",	     "oci:",	"oci-archive:", "docker-archive:", "dir:", "containers-storage:",
						  "docker-daemon:", "tarball:", "sif:" };

	for (size_t i = 0; i < ARRAY_SIZE(transports); i++)
		if (!strncmp(name, transports[i], strlen(transports[i])))
			return true;
	return false;
}

bool hoy_inspects_transport(char *const *argv)
{
	while (*argv && strcmp(*argv, "inspect"))
		argv++;
	for (; *argv; argv++) {
		/* A format may begin with anything. */
		if ((!strcmp(*argv, "-f") || !strcmp(*argv, "--format")) && argv[1])
			argv++;
		else if (hoy_names_transport(*argv))
			return true;
	}
	return false;
}
