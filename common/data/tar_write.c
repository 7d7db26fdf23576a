#include "common/data/tar_write.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define OCTAL_7 ((int64_t)07777777)	 /* what fits into fields of 8 and of 12 bytes */
#define OCTAL_11 ((int64_t)077777777777)

/* Where the fields are. */
enum { NAME = 0, MODE = 100, UID = 108, GID = 116, SIZE = 124, MTIME = 136, SUM = 148, TYPE = 156, LINK = 157, MAGIC = 257, USER = 265, GROUP = 297, MAJOR = 329,
       MINOR = 337, PREFIX = 345 };

static void put_octal(unsigned char *field, int len, int64_t v)
{
	char text[32];

	if (v < 0 || v > (len == 8 ? OCTAL_7 : OCTAL_11))
		v = 0; /* the pax record has it */
	snprintf(text, sizeof(text), "%0*llo", len - 1, (unsigned long long)v);
	memcpy(field, text, len);
}

/* What of S is ASCII, cut at the field's end; there, a slash would make a file look like a directory. */
static void put_ascii(unsigned char *field, size_t len, const char *s)
{
	size_t n = 0;

	for (; *s && n < len; s++)
		if ((unsigned char)*s < 0x80)
			field[n++] = *s;
	if (*s && field[len - 1] == '/') {
		while (n && field[n - 1] == '/')
			n--;
		field[n] = '\0';
	}
}

static bool fits(const char *s)
{
	size_t n = 0;

	for (; s[n]; n++)
		if ((unsigned char)s[n] >= 0x80)
			return false;
	return n <= 100;
}

static void seal(struct hoy_buf *out, unsigned char h[TAR_BLOCK])
{
	unsigned sum = 0;

	memcpy(h + MAGIC, "ustar\0" "00", 8);
	memset(h + SUM, ' ', 8);
	for (int i = 0; i < TAR_BLOCK; i++)
		sum += h[i];
	snprintf((char *)h + SUM, 7, "%06o", sum);
	hoy_buf_add(out, h, TAR_BLOCK);
}

/* "LENGTH KEY=VALUE\n", where the length counts itself. */
static void record(struct hoy_buf *b, const char *key, const void *value, size_t len)
{
	size_t body = strlen(key) + len + 3, total = body, digits;
	char text[24];

	do {
		digits = (size_t)snprintf(text, sizeof(text), "%zu", total);
		total = body + digits;
	} while ((size_t)snprintf(text, sizeof(text), "%zu", total) != digits);
	hoy_buf_printf(b, "%zu %s=", total, key);
	hoy_buf_add(b, value, len);
	hoy_buf_putc(b, '\n');
}

static void number(struct hoy_buf *b, const char *key, int64_t v, int64_t max)
{
	char text[24];

	if (v < 0 || v > max)
		record(b, key, text, (size_t)snprintf(text, sizeof(text), "%lld", (long long)v));
}

/* The slash at which a name that is too long becomes a prefix of 155 bytes and a name of 100; or NULL. */
static const char *split(const char *name)
{
	size_t len = strlen(name), end = len > 156 ? 156 : len - (len && name[len - 1] == '/');
	const char *slash = end ? memrchr(name, '/', end) : NULL;

	for (const char *c = name; *c; c++)
		if ((unsigned char)*c >= 0x80)
			return NULL;
	if (len <= 100 || !slash || slash == name || slash - name > 155 || !slash[1] || strlen(slash + 1) > 100)
		return NULL;
	return slash;
}

/* In the order of their keys, as Go sorts them: capitals first. */
static void records(struct hoy_buf *b, const struct tar_item *i)
{
	for (size_t k = 0; k < i->n_xattrs; k++) {
		char key[300];

		snprintf(key, sizeof(key), "SCHILY.xattr.%s", i->xattrs[k].key);
		record(b, key, i->xattrs[k].value, i->xattrs[k].len);
	}
	number(b, "gid", (int64_t)i->gid, OCTAL_7);
	if (i->link && !fits(i->link))
		record(b, "linkpath", i->link, strlen(i->link));
	number(b, "mtime", i->mtime, OCTAL_11);
	if (!fits(i->name))
		record(b, "path", i->name, strlen(i->name));
	number(b, "size", i->size, OCTAL_11);
	number(b, "uid", (int64_t)i->uid, OCTAL_7);
}

/* Is the name all that there is to record, and can it do without? Then the slash to split it at. */
static const char *split_alone(const struct tar_item *i)
{
	bool rest = i->n_xattrs || (i->link && !fits(i->link)) || i->mtime < 0 || i->mtime > OCTAL_11 || i->size > OCTAL_11 || i->uid > OCTAL_7 || i->gid > OCTAL_7;

	return rest ? NULL : split(i->name);
}

static void put_pax(struct hoy_buf *out, const char *name, const struct hoy_buf *pax)
{
	static const char zeros[TAR_BLOCK];
	const char *slash = strrchr(name, '/');
	unsigned char h[TAR_BLOCK] = "";
	char at[TAR_NAME_MAX + 32];
	size_t n;

	/* DIR/PaxHeaders.0/FILE; of a directory, whose name ends in a slash, there is no FILE. */
	snprintf(at, sizeof(at), "%.*sPaxHeaders.0/%s", slash ? (int)(slash + 1 - name) : 0, name, slash ? slash + 1 : name);
	put_ascii(h + NAME, 100, at);
	for (n = strnlen((char *)h, 100); n && h[n - 1] == '/'; n--)
		h[n - 1] = '\0';
	put_octal(h + MODE, 8, 0);
	put_octal(h + UID, 8, 0);
	put_octal(h + GID, 8, 0);
	put_octal(h + SIZE, 12, (int64_t)pax->len);
	put_octal(h + MTIME, 12, 0);
	h[TYPE] = 'x';
	seal(out, h);
	hoy_buf_add(out, pax->data, pax->len);
	hoy_buf_add(out, zeros, tar_padding((int64_t)pax->len));
}

void tar_put_header(struct hoy_buf *out, const struct tar_item *i)
{
	cleanup_buf struct hoy_buf pax = HOY_BUF_INIT((size_t)1 << 20);
	const char *slash = split_alone(i);
	unsigned char h[TAR_BLOCK] = "";

	if (!slash)
		records(&pax, i);
	if (pax.error)
		out->error = pax.error;
	if (pax.len)
		put_pax(out, i->name, &pax);
	put_ascii(h + NAME, 100, slash ? slash + 1 : i->name);
	if (slash)
		memcpy(h + PREFIX, i->name, slash - i->name);
	put_octal(h + MODE, 8, i->mode);
	put_octal(h + UID, 8, (int64_t)i->uid);
	put_octal(h + GID, 8, (int64_t)i->gid);
	put_octal(h + SIZE, 12, i->size);
	put_octal(h + MTIME, 12, i->mtime);
	h[TYPE] = i->type;
	put_ascii(h + LINK, 100, i->link ? i->link : "");
	put_ascii(h + USER, 32, i->user ? i->user : "");
	put_ascii(h + GROUP, 32, i->group ? i->group : "");
	put_octal(h + MAJOR, 8, i->major);
	put_octal(h + MINOR, 8, i->minor);
	seal(out, h);
}
