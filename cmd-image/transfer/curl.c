/*
 * cmd-image/transfer/curl.c: libcurl's functions, which load it when the first of them is called: with all the libraries that it
 * needs it costs 5 ms, and most runs of hoy-transfer (a commit, a load, a check) never talk to a server.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>

#include "cmd-image/transfer/http.h"
#include "common/base/err.h"

#define SONAME "libcurl.so.4"
/* The types of libcurl's macros, which check the arguments of setopt and getinfo, stay in force for the callers. */
#undef curl_easy_setopt
#undef curl_easy_getinfo

static struct {
	__typeof__(curl_easy_cleanup) *easy_cleanup;
	__typeof__(curl_easy_escape) *easy_escape;
	__typeof__(curl_easy_getinfo) *easy_getinfo;
	__typeof__(curl_easy_init) *easy_init;
	__typeof__(curl_easy_perform) *easy_perform;
	__typeof__(curl_easy_reset) *easy_reset;
	__typeof__(curl_easy_setopt) *easy_setopt;
	__typeof__(curl_easy_strerror) *easy_strerror;
	__typeof__(curl_free) *free;
	__typeof__(curl_global_init) *global_init;
	__typeof__(curl_slist_append) *slist_append;
	__typeof__(curl_slist_free_all) *slist_free_all;
	__typeof__(curl_url) *url;
	__typeof__(curl_url_cleanup) *url_cleanup;
	__typeof__(curl_url_get) *url_get;
	__typeof__(curl_url_set) *url_set;
} lib;
static bool loaded;

static const struct { const char *name; void *at; } names[] = {
	{ "curl_easy_cleanup", &lib.easy_cleanup }, { "curl_easy_escape", &lib.easy_escape }, { "curl_easy_getinfo", &lib.easy_getinfo },
	{ "curl_easy_init", &lib.easy_init }, { "curl_easy_perform", &lib.easy_perform }, { "curl_easy_reset", &lib.easy_reset },
	{ "curl_easy_setopt", &lib.easy_setopt }, { "curl_easy_strerror", &lib.easy_strerror }, { "curl_free", &lib.free },
	{ "curl_global_init", &lib.global_init }, { "curl_slist_append", &lib.slist_append }, { "curl_slist_free_all", &lib.slist_free_all },
	{ "curl_url", &lib.url }, { "curl_url_cleanup", &lib.url_cleanup }, { "curl_url_get", &lib.url_get }, { "curl_url_set", &lib.url_set },
};

static void load(void)
{
	void *so = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);

	for (size_t i = 0; so && i < ARRAY_SIZE(names); i++) {
		void *found = dlsym(so, names[i].name);

		if (!found)
			return;
		*(void **)names[i].at = found;
	}
	loaded = so && lib.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

/* Without it there are no handles and no lists: those who ask for one are told so, the other functions see none. */
static bool have(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load);
	return loaded;
}

CURL *curl_easy_init(void) { return have() ? lib.easy_init() : NULL; }
void curl_easy_cleanup(CURL *c)
{
	if (c)
		lib.easy_cleanup(c);
}
CURLcode curl_easy_perform(CURL *c) { return lib.easy_perform(c); }
void curl_easy_reset(CURL *c) { lib.easy_reset(c); }
const char *curl_easy_strerror(CURLcode code) { return have() ? lib.easy_strerror(code) : "cannot load " SONAME; }
char *curl_easy_escape(CURL *c, const char *text, int len) { return have() ? lib.easy_escape(c, text, len) : NULL; }
void curl_free(void *p)
{
	if (p)
		lib.free(p);
}

/* Each of these has one argument behind: a long, a pointer or a curl_off_t, which are passed alike where all have 64 bits. */
_Static_assert(sizeof(long) == 8 && sizeof(void *) == 8 && sizeof(curl_off_t) == 8, "a machine of 64 bits");

CURLcode curl_easy_setopt(CURL *c, CURLoption option, ...)
{
	va_list ap;
	void *value;

	va_start(ap, option);
	value = va_arg(ap, void *);
	va_end(ap);
	return lib.easy_setopt(c, option, value);
}

CURLcode curl_easy_getinfo(CURL *c, CURLINFO info, ...)
{
	va_list ap;
	void *to;

	va_start(ap, info);
	to = va_arg(ap, void *);
	va_end(ap);
	return lib.easy_getinfo(c, info, to);
}

struct curl_slist *curl_slist_append(struct curl_slist *list, const char *text) { return have() ? lib.slist_append(list, text) : NULL; }
void curl_slist_free_all(struct curl_slist *list)
{
	if (list)
		lib.slist_free_all(list);
}

CURLU *curl_url(void) { return have() ? lib.url() : NULL; }
void curl_url_cleanup(CURLU *u)
{
	if (u)
		lib.url_cleanup(u);
}
CURLUcode curl_url_get(CURLU *u, CURLUPart what, char **part, unsigned flags) { return lib.url_get(u, what, part, flags); }
CURLUcode curl_url_set(CURLU *u, CURLUPart what, const char *part, unsigned flags) { return lib.url_set(u, what, part, flags); }
