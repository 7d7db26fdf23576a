#include "cmd-image/transfer/mime.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/base/cleanup.h"

/* Behind each stands a blank or ">", and any white space may stand before. */
static const char *const tags[] = { "<!DOCTYPE HTML", "<HTML", "<HEAD", "<SCRIPT", "<IFRAME", "<H1", "<DIV", "<FONT", "<TABLE", "<A", "<STYLE",
				    "<TITLE", "<B", "<BODY", "<BR", "<P", "<!--" };

/* '?' in a pattern stands for any byte, which none of them has as a byte of its own. */
#define SIG(bytes, type) { bytes, sizeof(bytes) - 1, type }
static const struct signature { const char *bytes; size_t len; const char *type; } signatures[] = {
	SIG("%PDF-", "application/pdf"), SIG("%!PS-Adobe-", "application/postscript"),
	SIG("\xFE\xFF??", "text/plain; charset=utf-16be"), SIG("\xFF\xFE??", "text/plain; charset=utf-16le"),
	SIG("\xEF\xBB\xBF?", "text/plain; charset=utf-8"),
	SIG("\0\0\1\0", "image/x-icon"), SIG("\0\0\2\0", "image/x-icon"), SIG("BM", "image/bmp"), SIG("GIF87a", "image/gif"),
	SIG("GIF89a", "image/gif"), SIG("RIFF????WEBPVP", "image/webp"), SIG("\x89PNG\r\n\x1A\n", "image/png"), SIG("\xFF\xD8\xFF", "image/jpeg"),
	SIG("FORM????AIFF", "audio/aiff"), SIG("ID3", "audio/mpeg"), SIG("OggS\0", "application/ogg"), SIG("MThd\0\0\0\6", "audio/midi"),
	SIG("RIFF????AVI ", "video/avi"), SIG("RIFF????WAVE", "audio/wave"),
	SIG("", "video/mp4"), /* has a place in the order, and a function of its own */
	SIG("\x1A\x45\xDF\xA3", "video/webm"),
	SIG("??????????????????????????????????LP", "application/vnd.ms-fontobject"),
	SIG("\0\1\0\0", "font/ttf"), SIG("OTTO", "font/otf"), SIG("ttcf", "font/collection"), SIG("wOFF", "font/woff"), SIG("wOF2", "font/woff2"),
	SIG("\x1F\x8B\x08", "application/x-gzip"), SIG("PK\3\4", "application/zip"), SIG("Rar!\x1A\7\0", "application/x-rar-compressed"),
	SIG("Rar!\x1A\7\1\0", "application/x-rar-compressed"), SIG("\0asm", "application/wasm"),
};

static bool is_html(const unsigned char *d, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
		size_t n = strlen(tags[i]);

		if (len > n && !strncasecmp((const char *)d, tags[i], n) && (d[n] == ' ' || d[n] == '>'))
			return true;
	}
	return false;
}

static bool is_mp4(const unsigned char *d, size_t len)
{
	uint32_t box = len < 12 ? 0 : (uint32_t)d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3];

	if (len < 12 || len < box || box % 4 || memcmp(d + 4, "ftyp", 4))
		return false;
	/* The word at 12 is a version. */
	for (size_t at = 8; at < box; at += 4)
		if (at != 12 && !memcmp(d + at, "mp4", 3))
			return true;
	return false;
}

static bool matches(const struct signature *s, const unsigned char *d, size_t len)
{
	if (len < s->len)
		return false;
	for (size_t i = 0; i < s->len; i++)
		if (s->bytes[i] != '?' && (unsigned char)s->bytes[i] != d[i])
			return false;
	return true;
}

static bool is_text(const unsigned char *d, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (d[i] <= 0x08 || d[i] == 0x0B || (d[i] >= 0x0E && d[i] <= 0x1A) || (d[i] >= 0x1C && d[i] <= 0x1F))
			return false;
	return true;
}

const char *mime_of(const void *data, size_t len)
{
	const unsigned char *d = data;
	size_t blank = 0;

	len = len < MIME_LOOK ? len : MIME_LOOK;
	while (blank < len && memchr("\t\n\f\r ", d[blank], 5))
		blank++;
	if (is_html(d + blank, len - blank))
		return "text/html; charset=utf-8";
	if (len - blank >= 5 && !memcmp(d + blank, "<?xml", 5))
		return "text/xml; charset=utf-8";
	for (size_t i = 0; i < ARRAY_SIZE(signatures); i++)
		if (signatures[i].len ? matches(&signatures[i], d, len) : is_mp4(d, len))
			return signatures[i].type;
	return is_text(d + blank, len - blank) ? "text/plain; charset=utf-8" : "application/octet-stream";
}

/* ---- by name ---- */

static const struct { const char *type, *endings; } endings[] = {
	{ "application/gzip", ".gz" }, { "application/json", ".json" }, { "application/msword", ".doc" }, { "application/pdf", ".pdf" },
	{ "application/postscript", ".ai .eps .ps" }, { "application/rtf", ".rtf" }, { "application/vnd.android.package-archive", ".apk" },
	{ "application/vnd.ms-excel", ".xls" }, { "application/vnd.ms-powerpoint", ".ppt" },
	{ "application/vnd.openxmlformats-officedocument.presentationml.presentation", ".pptx" },
	{ "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx" },
	{ "application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx" }, { "application/wasm", ".wasm" },
	{ "application/xhtml+xml", ".xhtml .xht" }, { "application/zip", ".zip" }, { "audio/flac", ".flac" }, { "audio/mp4", ".m4a" },
	{ "audio/mpeg", ".mp3" }, { "audio/ogg", ".oga .ogg .opus" }, { "audio/wav", ".wav" }, { "audio/webm", ".weba" }, { "image/avif", ".avif" },
	{ "image/bmp", ".bmp" }, { "image/gif", ".gif" }, { "image/jpeg", ".jfif .jpeg .jpg .pjp .pjpeg" }, { "image/png", ".png" },
	{ "image/svg+xml", ".svg" }, { "image/tiff", ".tif .tiff" }, { "image/vnd.microsoft.icon", ".ico" }, { "image/webp", ".webp" },
	{ "message/rfc822", ".eml" }, { "text/calendar", ".ics" }, { "text/css", ".css" }, { "text/csv", ".csv" },
	{ "text/html", ".htm .html .ehtml .shtml" }, { "text/javascript", ".js .mjs" }, { "text/plain", ".text .txt" }, { "text/xml", ".xml .xsl" },
	{ "video/mp4", ".mp4" }, { "video/ogg", ".ogv" }, { "video/webm", ".webm" },
};

/* Is WORD, in any case, one of the words in LIST (to the end of its line), which are separated by blanks? */
static bool in_list(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (list += strspn(list, " \t"); *list && *list != '\n' && *list != '#'; list += strspn(list, " \t")) {
		size_t len = strcspn(list, " \t\n");

		if (len == n && !strncasecmp(list, word, n))
			return true;
		list += len;
	}
	return false;
}

/* A line "50:text/x:*.x" or "text/x x y"; does it say of what ENDING (".x") is, then what? */
static bool line_says(const char *line, bool globs, const char *ending, char ret[MIME_MAX])
{
	const char *type = globs ? strchr(line, ':') : line;
	size_t n = 0;

	if (!type || *line == '#')
		return false;
	type += globs;
	n = strcspn(type, globs ? ":" : " \t\n");
	if (!n || n >= MIME_MAX || !(globs ? !strncmp(type + n, ":*.", 3) && !strncasecmp(type + n + 2, ending, strlen(ending)) &&
						     strchr(":\n", type[n + 2 + strlen(ending)]) :
					     in_list(type + n, ending + 1)))
		return false;
	for (size_t i = 0; i < n; i++)
		ret[i] = type[i] >= 'A' && type[i] <= 'Z' ? type[i] | 0x20 : type[i];
	ret[n] = '\0';
	return true;
}

/* Look into PATH; false: it isn't there. */
static bool look_into(const char *path, bool globs, const char *ending, char ret[MIME_MAX])
{
	cleanup_file FILE *f = fopen(path, "re");
	char line[1024];

	while (f && fgets(line, sizeof(line), f))
		if (line_says(line, globs, ending, ret))
			break;
	return f;
}

bool mime_by_name(const char *name, char ret[MIME_MAX])
{
	static const char *const globs[] = { "/usr/local/share/mime/globs2", "/usr/share/mime/globs2" };
	static const char *const types[] = { "/etc/mime.types", "/etc/apache2/mime.types", "/etc/apache/mime.types", "/etc/httpd/conf/mime.types" };
	const char *ending = strrchr(name, '.');

	*ret = '\0';
	if (!ending || !ending[1])
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++)
		if (in_list(endings[i].endings, ending))
			return snprintf(ret, MIME_MAX, "%s", endings[i].type) > 0;
	for (size_t i = 0; i < ARRAY_SIZE(globs); i++)
		if (look_into(globs[i], true, ending, ret))
			return *ret;
	for (size_t i = 0; i < ARRAY_SIZE(types) && !*ret; i++)
		look_into(types[i], false, ending, ret);
	return *ret;
}
