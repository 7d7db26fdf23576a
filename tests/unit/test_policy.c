/* Tests of policy.json: what is refused as malformed, which scope counts, which identity a signature must bear. */
#include <errno.h>
#include <string.h>

#include "common/base/err.h"
#include "common/conf/policy.h"
#include "common/data/ref.h"
#include "tests/unit/tap.h"

#define ACCEPT "[{\"type\":\"insecureAcceptAnything\"}]"
#define REQ(r) "{\"default\":[" r "]}"
#define BY(more) REQ("{\"type\":\"signedBy\",\"keyType\":\"GPGKeys\"," more "}")
#define MATCH(m) BY("\"keyPath\":\"/k\",\"signedIdentity\":{" m "}")

static const struct { const char *text, *want; } texts[] = {
	{ REQ("{\"type\":\"insecureAcceptAnything\"}"), NULL },
	{ REQ("{\"type\":\"reject\"}"), NULL },
	{ "{}", "Default policy is missing" },
	{ "[]", "object" },
	{ "{\"default\":[]}", "must not be empty" },
	{ "{\"default\":{}}", "requirements" },
	{ "{\"default\":" ACCEPT ",\"Transports\":{}}", "Unknown key \"Transports\"" },
	{ "{\"default\":" ACCEPT ",\"default\":" ACCEPT "}", "Duplicate key \"default\"" },
	{ "{\"default\":" ACCEPT ",\"transports\":{\"docker\":{\"a\":[]}}}", "must not be empty" },
	{ "{\"default\":" ACCEPT ",\"transports\":{\"docker\":{\"a\":" ACCEPT ",\"a\":" ACCEPT "}}}", "Duplicate key \"a\"" },
	{ "{\"default\":" ACCEPT ",\"transports\":{\"dir\":{\"/\":" ACCEPT "}}}", "Unknown key" },
	{ "{\"default\":" ACCEPT ",\"transports\":{\"dir\":{\"rel\":" ACCEPT "}}}", "Unknown key" },
	{ "{\"default\":" ACCEPT ",\"transports\":{\"oci\":{\"/a/../b\":" ACCEPT "}}}", "Unknown key" },
	{ "{\"default\":" ACCEPT ",\"transports\":{\"docker-archive\":{\"/a\":" ACCEPT "}}}", "Unknown key" },
	{ "{\"default\":" ACCEPT ",\"transports\":{\"made-up\":{\"x\":" ACCEPT "}}}", NULL },
	{ REQ("{\"type\":\"accept\"}"), "Unknown policy requirement type \"accept\"" },
	{ REQ("{}"), "Unknown policy requirement type" },
	{ REQ("{\"type\":\"reject\",\"x\":1}"), "Unknown key \"x\"" },
	{ BY("\"keyPath\":\"/k\""), NULL },
	{ BY("\"keyData\":\"AAAA\""), NULL },
	{ BY("\"keyPaths\":[\"/a\",\"/b\"]"), NULL },
	{ BY("\"keyPaths\":[]"), "no list" },
	{ BY("\"keyPath\":\"\""), "no string" },
	{ BY("\"keyPath\":7"), "no string" },
	{ BY("\"keyPath\":\"/k\",\"keyData\":\"AAAA\""), "more than one" },
	{ BY("\"signedIdentity\":{\"type\":\"matchExact\"}"), "none of them" },
	{ REQ("{\"type\":\"signedBy\",\"keyType\":\"GPG\",\"keyPath\":\"/k\"}"), "Unrecognized keyType value \"GPG\"" },
	{ REQ("{\"type\":\"signedBy\",\"keyPath\":\"/k\"}"), "keyType" },
	{ REQ("{\"type\":\"sigstoreSigned\",\"keyPath\":\"/k\"}"), NULL },
	{ REQ("{\"type\":\"sigstoreSigned\",\"keyDatas\":[\"AA==\"]}"), NULL },
	{ REQ("{\"type\":\"sigstoreSigned\",\"fulcio\":{},\"rekorPublicKeyPath\":\"/r\"}"), NULL },
	{ REQ("{\"type\":\"sigstoreSigned\",\"keyPath\":\"/k\",\"fulcio\":{}}"), "more than one" },
	{ REQ("{\"type\":\"sigstoreSigned\",\"keyPath\":\"/k\",\"keyType\":\"GPGKeys\"}"), "Unknown key \"keyType\"" },
	{ MATCH("\"type\":\"matchExact\""), NULL },
	{ MATCH("\"type\":\"matchAll\""), "Unknown policy reference match type \"matchAll\"" },
	{ MATCH("\"type\":\"matchExact\",\"prefix\":\"a\""), "Unknown key \"prefix\"" },
	{ MATCH("\"type\":\"exactReference\""), "missing" },
	{ MATCH("\"type\":\"exactReference\",\"dockerReference\":\"x\""), "neither a tag nor digest" },
	{ MATCH("\"type\":\"exactReference\",\"dockerReference\":\"x:1\""), NULL },
	{ MATCH("\"type\":\"exactRepository\",\"dockerRepository\":\"UPPER\""), "invalid" },
	{ MATCH("\"type\":\"remapIdentity\",\"prefix\":\"a.b\""), "missing" },
	{ MATCH("\"type\":\"remapIdentity\",\"prefix\":\"a.b/c:1\",\"signedPrefix\":\"a.b\""), "is not valid" },
	{ MATCH("\"type\":\"remapIdentity\",\"prefix\":\"a.b:5000\",\"signedPrefix\":\"c.d/e\""), NULL },
};

static void test_texts(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		cleanup_policy struct hoy_policy p = HOY_POLICY_INIT;
		struct hoy_err err = HOY_ERR_INIT;
		int r = hoy_policy_parse(&p, texts[i].text, strlen(texts[i].text), "p", &err);

		ok(texts[i].want ? r == -HOY_EFORMAT && strstr(err.msg, texts[i].want) : !r, "%s: %s", texts[i].text, err.msg);
	}
}

/* Each scope rejects a keyPath that bears its own name, so that what was found says where. */
#define AT(name) "\"" name "\":[{\"type\":\"signedBy\",\"keyType\":\"GPGKeys\",\"keyPath\":\"" name "\"}]"
static const char scoped[] = "{\"default\":[{\"type\":\"reject\"}],\"transports\":{\"docker\":{" AT("h.example.com/ns/img:1") "," AT("h.example.com/ns/img")
	"," AT("h.example.com/ns") "," AT("h.example.com") "," AT("*.example.com") "," AT("*.com") "," AT("p.org:5000/x") "," AT("p.org:5000")
	"," AT("*.org") "," AT("docker.io/library") ",\"\":" ACCEPT "},\"dir\":{" AT("/a/b") "," AT("/a") "}}}";
static const struct { const char *transport, *name, *want; } scopes[] = {
	{ "docker", "h.example.com/ns/img:1", "h.example.com/ns/img:1" },
	{ "docker", "h.example.com/ns/img:2", "h.example.com/ns/img" },
	{ "docker", "h.example.com/ns/other:1", "h.example.com/ns" },
	{ "docker", "h.example.com/nsx/img:1", "h.example.com" },
	{ "docker", "i.example.com/ns/img:1", "*.example.com" },
	{ "docker", "a.b.example.com/img:1", "*.example.com" },
	{ "docker", "example.com/img:1", "*.com" },
	{ "docker", "p.org:5000/x:1", "p.org:5000/x" },
	{ "docker", "p.org:5000/y:1", "p.org:5000" },
	{ "docker", "p.org:5001/y:1", "*.org" },
	{ "docker", "busybox", "docker.io/library" },
	{ "docker", "q.net/y:1", "" },
	{ "dir", "/a/b/c", "/a/b" },
	{ "dir", "/a/bc", "/a" },
	{ "dir", "/ab", NULL },
	{ "dir", "/", NULL },
	{ "oci", "/a/b", NULL },
};

static void test_scopes(void)
{
	cleanup_policy struct hoy_policy p = HOY_POLICY_INIT;

	ok(!hoy_policy_parse(&p, scoped, strlen(scoped), "p", NULL), "a policy with scopes");
	for (size_t i = 0; i < ARRAY_SIZE(scopes); i++) {
		cleanup_strv struct hoy_strv v = HOY_STRV_INIT;
		cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
		const struct hoy_json *q;
		const char *path, *type;

		if (*scopes[i].name == '/')
			hoy_policy_paths(scopes[i].name, &v);
		else if (!hoy_ref_parse(&ref, scopes[i].name, NULL) && !hoy_ref_normalize(&ref))
			hoy_policy_scopes(&ref, &v);
		q = hoy_policy_find(&p, scopes[i].transport, &v)->child;
		path = hoy_json_str(q, "keyPath");
		type = hoy_json_str(q, "type");
		ok(!scopes[i].want ? !strcmp(type, "reject") : path ? !strcmp(path, scopes[i].want) : !*scopes[i].want && strcmp(type, "reject"),
		   "%s %s: %s", scopes[i].transport, scopes[i].name, path ? path : type);
	}
}

#define D "@sha256:0123456789012345678901234567890123456789012345678901234567890123"
#define E "@sha256:1123456789012345678901234567890123456789012345678901234567890123"
static const struct { const char *match, *image, *sig; bool want; } names[] = {
	{ NULL, "r.io/a:1", "r.io/a:1", true },
	{ NULL, "r.io/a:1", "r.io/a:2", false },
	{ NULL, "r.io/a:1", "r.io/a", false },
	{ NULL, "r.io/a:1", "r.io/a" D, false },
	{ NULL, "r.io/a" D, "r.io/a:1", true },
	{ NULL, "r.io/a" D, "r.io/a" E, true },
	{ NULL, "r.io/a" D, "r.io/b:1", false },
	{ NULL, "r.io/a" D, "r.io/a", false },
	{ NULL, "busybox", "docker.io/library/busybox:latest", true },
	{ NULL, "busybox", "busybox:latest", true },
	{ NULL, "busybox", "busybox", false },
	{ NULL, "r.io/a:1", "", false },
	{ NULL, "r.io/a:1", "R.io/A:1", false },
	{ NULL, NULL, "r.io/a:1", false },
	{ "\"matchExact\"", "r.io/a:1", "r.io/a:1", true },
	{ "\"matchExact\"", "r.io/a" D, "r.io/a:1", false },
	{ "\"matchExact\"", "r.io/a" D, "r.io/a" D, true },
	{ "\"matchRepository\"", "r.io/a:1", "r.io/a:2", true },
	{ "\"matchRepository\"", "r.io/a:1", "r.io/a", true },
	{ "\"matchRepository\"", "r.io/a:1", "r.io/b:1", false },
	{ "\"matchRepository\"", NULL, "r.io/b:1", false },
	{ "\"exactReference\",\"dockerReference\":\"r.io/o:1\"", "r.io/a:1", "r.io/o:1", true },
	{ "\"exactReference\",\"dockerReference\":\"r.io/o:1\"", "r.io/a:1", "r.io/a:1", false },
	{ "\"exactReference\",\"dockerReference\":\"r.io/o:1\"", NULL, "r.io/o:1", true },
	{ "\"exactRepository\",\"dockerRepository\":\"r.io/o\"", NULL, "r.io/o:7", true },
	{ "\"exactRepository\",\"dockerRepository\":\"r.io/o\"", "r.io/o:7", "r.io/p:7", false },
	{ "\"remapIdentity\",\"prefix\":\"m.io\",\"signedPrefix\":\"r.io/x\"", "m.io/a:1", "r.io/x/a:1", true },
	{ "\"remapIdentity\",\"prefix\":\"m.io\",\"signedPrefix\":\"r.io/x\"", "m.io/a:1", "m.io/a:1", false },
	{ "\"remapIdentity\",\"prefix\":\"m.io\",\"signedPrefix\":\"r.io/x\"", "m.io:5000/a:1", "m.io:5000/a:1", true },
	{ "\"remapIdentity\",\"prefix\":\"m.io/a\",\"signedPrefix\":\"r.io/b\"", "m.io/a:1", "r.io/b:1", true },
	{ "\"remapIdentity\",\"prefix\":\"m.io/a\",\"signedPrefix\":\"r.io/b\"", "m.io/ab:1", "m.io/ab:1", true },
	{ "\"remapIdentity\",\"prefix\":\"m.io/a\",\"signedPrefix\":\"r.io/b\"", "m.io/a" D, "r.io/b:9", true },
};

static void test_names(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
		cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
		cleanup_free char *text = names[i].match ? hoy_asprintf("{\"type\":%s}", names[i].match) : NULL;

		if (text)
			hoy_json_parse(&doc, text, strlen(text), "m", NULL);
		if (names[i].image && !hoy_ref_parse(&ref, names[i].image, NULL))
			hoy_ref_normalize(&ref);
		ok(hoy_policy_identity(doc.root, names[i].image ? &ref : NULL, names[i].sig) == names[i].want, "%s: image %s, signed %s",
		   names[i].match ? names[i].match : "(default)", names[i].image ? names[i].image : "(nameless)", names[i].sig);
	}
}

int main(void)
{
	test_texts();
	test_scopes();
	test_names();
	return tap_done();
}
