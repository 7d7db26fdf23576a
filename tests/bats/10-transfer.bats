#!/usr/bin/env bats
# hoy-transfer against real registries and the real podman and skopeo, both ways.
load ../lib/hoy

remote() { oracle skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$1"; }
fill() { oracle skopeo copy -q --dest-tls-verify=false "oci:$(fixture "$1")/oci:latest" "docker://$REGISTRY/$1:latest"; }
clean_store() {
	[[ -z $(ls "$ROOT/overlay/tempdirs" "$ROOT/overlay-layers/tmp" 2>/dev/null | grep -v :) ]] || show 'temporary things were left'
	try oracle_podman system check
	assert_success
}

@test "import: the image is podman's too" {
	try hoy import -m hello -c 'CMD ["sh"]' -c ENV=A=b -c 'EXPOSE 80' -c 'LABEL x="y z"' -c WORKDIR=/tmp "$(fixture busybox)/rootfs.tar" imp:1
	assert_success
	[[ $output =~ ^sha256:[0-9a-f]{64}$ ]]
	[[ $(oracle_podman image inspect --format '{{.Id}}' imp:1) == "${output#sha256:}" ]]
	try oracle_podman run --rm --network none imp:1 sh -c 'pwd; echo $A'
	assert_stdout $'/tmp\nb'
	try oracle_podman image inspect --format '{{json .Config}}' imp:1
	assert_stdout '{"ExposedPorts":{"80/tcp":{}},"Env":["A=b"],"Cmd":["sh"],"WorkingDir":"/tmp","Labels":{"x":"y z"}}'
	clean_store
}

@test "import: from stdin, compressed; a change that is unknown" {
	gzip -c "$(fixture busybox)/rootfs.tar" >r.tgz
	try hoy import - <r.tgz
	assert_success
	zstd -q "$(fixture busybox)/rootfs.tar" -o r.zst
	try hoy import r.zst z:1
	assert_success
	try hoy import -c 'RUN x' r.zst
	assert_error "the change 'RUN x' is not known"
	clean_store
}

@test "import: -q keeps quiet" {
	try hoy import -q "$(fixture busybox)/rootfs.tar"
	assert_stderr ''
	try hoy import "$(fixture busybox)/rootfs.tar"
	assert_stderr_has 'Writing manifest to image destination'
}

@test "import: from a web server" {
	cp "$(fixture busybox)/rootfs.tar" .
	background busybox httpd -f -p 127.0.0.1:18070 -h "$T"
	until_true 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/18070' 2>/dev/null
	try hoy import http://127.0.0.1:18070/rootfs.tar url:1
	assert_success
	try hoy run --rm --network none url:1 echo works
	assert_stdout works
	try hoy import http://127.0.0.1:18070/none.tar url:2
	assert_error 'none.tar'
	try hoy import http://127.0.0.1:18071/rootfs.tar url:2
	assert_error 'connect'
	clean_store
}

@test "pull: layers, digests and names as podman has them; podman runs it" {
	registry_start r
	fill debian
	try hoy pull --tls-verify=false "$REGISTRY/debian"
	assert_success
	id=$output
	store_new other
	oracle_podman pull -q --tls-verify=false "$REGISTRY/debian" >/dev/null
	cut='{{.Id}} {{.Digest}} {{.RepoTags}} {{.RepoDigests}} {{.Size}} {{.RootFS.Layers}}'
	want=$(oracle_podman image inspect --format "$cut" "$REGISTRY/debian")
	records=$(jq -S 'map(del(.created))' "$ROOT/overlay-layers/layers.json")
	store_new store
	[[ $want == "$id "* ]]
	[[ $(oracle_podman image inspect --format "$cut" "$REGISTRY/debian") == "$want" ]]
	diff <(jq -S 'map(del(.created))' "$ROOT/overlay-layers/layers.json") - <<<"$records"
	try oracle_podman run --rm --network none "$REGISTRY/debian" cat /etc/debian_version
	assert_success
	try podman4 images -q --no-trunc
	assert_stdout "sha256:$id"
	clean_store
}

@test "pull: zstd layers; what is there already is not fetched" {
	registry_start r
	oracle skopeo copy -q --dest-tls-verify=false "oci:$(fixture stack)/oci-zstd:latest" "docker://$REGISTRY/z:latest"
	fill stack
	try hoy pull --tls-verify=false "$REGISTRY/z"
	assert_success
	assert_stderr_has 'Copying blob'
	try hoy pull --tls-verify=false "$REGISTRY/stack"
	assert_success
	[[ $stderr != *'Copying blob'* ]]
	clean_store
}

@test "pull: by digest, policies, all tags, short errors" {
	registry_start r
	fill busybox
	d=$(remote "$REGISTRY/busybox:latest")
	try hoy pull -q --tls-verify=false "$REGISTRY/busybox@$d"
	assert_success
	id=$output
	try oracle_podman images --format '{{.Names}}'
	try jq -r '.[0].names[0]' "$ROOT/overlay-images/images.json"
	assert_stdout "$REGISTRY/busybox@$d"
	try hoy pull -q --policy never --tls-verify=false "$REGISTRY/busybox@$d"
	assert_stdout "$id"
	try hoy pull -q --policy never "$REGISTRY/none"
	assert_error 'image not known'
	oracle skopeo copy -q --src-tls-verify=false --dest-tls-verify=false "docker://$REGISTRY/busybox:latest" "docker://$REGISTRY/busybox:two"
	try hoy pull -q -a --tls-verify=false "$REGISTRY/busybox"
	assert_stdout "$id"$'\n'"$id"
	try hoy pull -q --tls-verify=false "$REGISTRY/busybox:none"
	assert_error 'manifest none'
	try hoy pull -q "$REGISTRY/busybox"
	assert_error '--tls-verify=false'
}

@test "pull then push by podman, push by hoy: digests stay" {
	registry_start r
	fill busybox
	hoy pull -q --tls-verify=false "$REGISTRY/busybox"
	d=$(remote "$REGISTRY/busybox:latest")
	try hoy push -q --tls-verify=false "$REGISTRY/busybox" "$REGISTRY/busybox:hoy"
	assert_success
	[[ $(remote "$REGISTRY/busybox:hoy") == "$d" ]]
	try oracle_podman push -q --tls-verify=false "$REGISTRY/busybox" "$REGISTRY/busybox:podman"
	assert_success
	# podman packs the layer anew; its content and the config are what we gave it.
	[[ $(oracle skopeo inspect --tls-verify=false --raw "docker://$REGISTRY/busybox:podman" | jq -r .config.digest) == \
		$(oracle skopeo inspect --tls-verify=false --raw "docker://$REGISTRY/busybox:latest" | jq -r .config.digest) ]]
}

@test "push of what podman loaded: its layers, packed; podman pulls it back" {
	registry_start r
	have_image stack
	try hoy push --digestfile d --tls-verify=false localhost/stack "$REGISTRY/x/oci"
	assert_success
	[[ $(<d) == $(remote "$REGISTRY/x/oci") ]]
	try hoy push -q --format v2s2 --tls-verify=false localhost/stack "docker://$REGISTRY/x/v2"
	assert_success
	try hoy push -q --compression-format zstd --format oci --tls-verify=false localhost/stack "docker://$REGISTRY/x/z"
	assert_success
	# With --format oci, docker's config becomes OCI's, and the image another one: as podman makes it.
	oracle_podman push -q --format oci --tls-verify=false localhost/stack "docker://$REGISTRY/x/theirs"
	layers=$(oracle_podman image inspect --format '{{.RootFS.Layers}}' localhost/stack)
	docker=$(oracle_podman image inspect --format '{{.Id}}' localhost/stack)
	oci=$(oracle skopeo inspect --tls-verify=false --raw "docker://$REGISTRY/x/theirs" | jq -r .config.digest)
	for name in oci v2 z; do
		store_new "s-$name"
		oracle_podman pull -q --tls-verify=false "$REGISTRY/x/$name"
		id=$docker
		[[ $name != z ]] || id=${oci#sha256:}
		[[ $(oracle_podman image inspect --format '{{.Id}} {{.RootFS.Layers}}' "$REGISTRY/x/$name") == "$id $layers" ]]
	done
}

@test "save and load: each format, both ways" {
	have_image busybox
	for format in docker-archive oci-archive oci-dir docker-dir; do
		hoy save -q --format $format -o out-$format localhost/busybox
		# Where docker's config becomes OCI's, the image is another one: the one that podman makes of it.
		oracle_podman save -q --format $format -o theirs-$format localhost/busybox
		store_new "t-$format"
		oracle_podman load -q -i theirs-$format
		id=$(oracle_podman images -q --no-trunc)
		store_new "p-$format"
		oracle_podman load -q -i out-$format
		[[ $(oracle_podman images -q --no-trunc) == "$id" ]]
		oracle_podman save -q --format $format -o back-$format "${id#sha256:}"
		store_new "h-$format"
		try hoy load -q -i back-$format
		assert_success
		[[ sha256:$(hoy images -q --no-trunc) == "$id" || $(hoy images -q --no-trunc) == "$id" ]]
		clean_store
		store_new store
	done
	hoy save localhost/busybox >s.tar
	cmp s.tar out-docker-archive
	gzip -k s.tar
	store_new gz
	try hoy load -q <s.tar.gz
	assert_stdout 'Loaded image: localhost/busybox:latest'
}

@test "save -m: two images in one archive" {
	have_image busybox
	hoy import "$(fixture busybox)/rootfs.tar" two:1
	try hoy save -q -m -o m.tar localhost/busybox two:1
	assert_success
	store_new other
	try oracle_podman load -q -i m.tar
	assert_stdout_has 'localhost/two:1'
	store_new third
	try hoy load -q -i m.tar
	assert_stdout $'Loaded image: localhost/busybox:latest\nLoaded image: localhost/two:1'
	try oracle skopeo inspect --format '{{.Digest}}' "docker-archive:m.tar:localhost/two:1"
	assert_success
}

@test "copy: every pair of transports, the digests that skopeo gets" {
	registry_start r
	fill busybox
	f=$(fixture busybox)
	for from in "oci:$f/oci:latest" "docker://$REGISTRY/busybox:latest"; do
		for to in oci:h-oci:x dir:h-dir oci-archive:h-oa "docker://$REGISTRY/h:x"; do
			rm -rf h-oci h-dir h-oa
			try hoy copy -q --src-tls-verify=false --dest-tls-verify=false "$from" "$to"
			assert_success
			[[ $(oracle skopeo inspect --tls-verify=false --format '{{.Digest}}' "$to") == sha256:55c98f7b2796544b507bf3f18b2d58dea6465f64a8eeb7439b39ab23d63e8320 ]] || show "$from $to"
			try hoy copy -q --src-tls-verify=false "$to" "containers-storage:copied"
			assert_success
		done
	done
	try hoy copy -q "oci:$f/oci:latest" docker-archive:h.tar:a/b:c
	assert_success
	[[ $(tar xOf h.tar manifest.json | jq -r '.[0].RepoTags[0]') == docker.io/a/b:c ]]
	try hoy copy -q --preserve-digests "oci:$f/oci:latest" docker-archive:h2.tar
	assert_error '--preserve-digests'
	[[ ! -e h2.tar ]]
}

@test "podman-pulled: hoy gives the original layers on" {
	have_image stack
	want=$(jq -r '.[]."diff-digest"' "$ROOT/overlay-layers/layers.json")
	try hoy copy -q --dest-decompress containers-storage:localhost/stack dir:d
	assert_success
	[[ $(jq -r '.layers[].digest' d/manifest.json) == "$want" ]]
}

@test "TLS with a private CA, htpasswd; login, logout" {
	registry_start r --tls --htpasswd joe:secret
	certs=$REGISTRY_DIR/certs.d/$REGISTRY
	export REGISTRY_AUTH_FILE=$T/auth.json
	try hoy login -u joe -p wrong --cert-dir "$certs" "$REGISTRY"
	assert_error 'invalid username or password'
	[[ ! -e $T/auth.json ]]
	try hoy copy -q --dest-cert-dir "$certs" "oci:$(fixture busybox)/oci:latest" "docker://$REGISTRY/b"
	assert_error "(run: hoy login $REGISTRY)"
	try hoy login -u joe --password-stdin --cert-dir "$certs" "$REGISTRY" <<<secret
	assert_stdout 'Login Succeeded!'
	[[ $(stat -c %a "$T/auth.json") == 600 ]]
	try oracle podman login --authfile "$T/auth.json" --get-login "$REGISTRY"
	assert_stdout joe
	try hoy copy -q --dest-cert-dir "$certs" "oci:$(fixture busybox)/oci:latest" "docker://$REGISTRY/b"
	assert_success
	try hoy pull -q --cert-dir "$certs" "$REGISTRY/b"
	assert_success
	try hoy pull -q "$REGISTRY/b"
	assert_error "the certificate of '$REGISTRY' is not trusted"
	assert_stderr_has "/etc/containers/certs.d/$REGISTRY/ca.crt"
	try hoy logout "$REGISTRY"
	assert_success
	try hoy login --get-login "$REGISTRY"
	assert_error 'not logged into'
	try hoy pull -q --creds joe:secret --tls-verify=false "$REGISTRY/b"
	assert_success
}

@test "registries.conf: mirrors, rewriting, insecure, blocked, short names" {
	registry_start r
	fill busybox
	fill stack
	export CONTAINERS_REGISTRIES_CONF=$T/registries.conf
	cat >registries.conf <<-END
	unqualified-search-registries = ["$REGISTRY"]
	[[registry]]
	location = "$REGISTRY"
	insecure = true
	[[registry]]
	prefix = "example.invalid/deep"
	location = "$REGISTRY"
	insecure = true
	[[registry]]
	location = "blocked.invalid"
	blocked = true
	[[registry]]
	location = "mirrored.invalid"
	[[registry.mirror]]
	location = "127.0.0.1:1"
	insecure = true
	[[registry.mirror]]
	location = "$REGISTRY"
	insecure = true
	END
	try hoy pull -q stack
	assert_success
	try hoy pull -q example.invalid/deep/busybox
	assert_success
	try hoy pull -q mirrored.invalid/busybox
	assert_success
	try hoy pull -q blocked.invalid/x
	assert_error 'blocked by registries.conf'
}

@test "inspect, list-tags, manifest-digest: as skopeo" {
	registry_start r
	fill busybox
	# --config is printed as the image has it; skopeo puts its members into another order.
	diff <(hoy image inspect --tls-verify=false --config "docker://$REGISTRY/busybox:latest" | jq -S .) \
		<(oracle skopeo inspect --tls-verify=false --config "docker://$REGISTRY/busybox:latest" | jq -S .)
	for args in '' --raw; do
		diff <(hoy image inspect --tls-verify=false $args "docker://$REGISTRY/busybox:latest") \
			<(oracle skopeo inspect --tls-verify=false $args "docker://$REGISTRY/busybox:latest")
	done
	diff <(tool hoy-image list-tags --tls-verify=false "docker://$REGISTRY/busybox") <(oracle skopeo list-tags --tls-verify=false "docker://$REGISTRY/busybox")
	hoy image inspect --tls-verify=false --raw "docker://$REGISTRY/busybox:latest" >m
	[[ $(tool hoy-image manifest-digest m) == "$(remote "$REGISTRY/busybox:latest")" ]]
}

@test "killed while pulling: the next command finds a whole store" {
	registry_start r
	fill stack
	for delay in 0.05 0.1 0.2 0.3; do
		timeout -s KILL $delay "$HOY_BIN/hoy" "${HOY_OPTS[@]}" pull -q --tls-verify=false "$REGISTRY/stack" || true
	done
	try hoy import "$(fixture busybox)/rootfs.tar" x:1
	assert_success
	clean_store
	try hoy pull -q --tls-verify=false "$REGISTRY/stack"
	assert_success
	clean_store
}

@test "search: repositories and tags, as podman finds and prints them" {
	have_image busybox
	registry_start r
	for name in foo/bar:1 alpine:1 alpine:2 foobar:1 baz/alpine-x:1 zz/foo:1; do
		hoy push -q --tls-verify=false busybox "docker://$REGISTRY/$name"
	done
	for args in "$REGISTRY/" "$REGISTRY/alpine" "$REGISTRY/foo" "--limit 1 $REGISTRY/foo" "--format json $REGISTRY/foo" "--list-tags $REGISTRY/alpine" \
		"--list-tags --format json $REGISTRY/alpine" "--list-tags --limit 1 $REGISTRY/alpine" "--format {{.Index}}:{{.Name}} $REGISTRY/foo" \
		"--list-tags --format {{.Tag}} $REGISTRY/alpine" alpine "$REGISTRY/zzz" "--filter is-official $REGISTRY/foo" "--filter stars=1 $REGISTRY/foo" \
		"--filter is-automated=false $REGISTRY/foo" "--compatible $REGISTRY/foo" "--no-trunc $REGISTRY/foo" '--list-tags alpine'; do
		# shellcheck disable=SC2086
		diff <(hoy search --tls-verify=false $args) <(oracle_podman search --tls-verify=false $args) || { echo "$args"; false; }
	done
	for args in "--filter foo=bar $REGISTRY/foo" '--filter stars=x localhost:1/x' '--tls-verify=false localhost:1/x' "--list-tags --tls-verify=false $REGISTRY/nosuch" "$REGISTRY/foo"; do
		# shellcheck disable=SC2086
		try hoy search $args
		assert_status 125
	done
	[[ $stderr == *"couldn't search registry \"$REGISTRY\": "*'does not speak TLS'* ]]
	# The registries of registries.conf; one that answers is enough.
	printf 'unqualified-search-registries = ["localhost:1", "%s"]\n[[registry]]\nlocation = "%s"\ninsecure = true\n' "$REGISTRY" "$REGISTRY" >"$T/registries.conf"
	[[ $(CONTAINERS_REGISTRIES_CONF=$T/registries.conf hoy search --format '{{.Name}}' bar 2>/dev/null) == "$REGISTRY/foo/bar"$'\n'"$REGISTRY/foobar" ]]
}

# A web server in front of $REGISTRY: over TLS with HTTP/2 for those who have a certificate of our CA, and as a proxy for plain HTTP.
front_start() {
	mkdir -p front/certs
	cd front
	"$HOY_TESTS/fixtures/registry" certificates .
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=client -keyout certs/client.key -out client.csr 2>/dev/null
	openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out certs/client.cert 2>/dev/null
	cp ca.crt certs/
	cat >nginx.conf <<-END
	daemon off;
	worker_processes 1;
	pid $PWD/pid;
	error_log $PWD/error.log;
	events { worker_connections 100; }
	http {
		client_max_body_size 0;
		proxy_request_buffering off;
		proxy_http_version 1.1;
		access_log $PWD/access.log combined;
		client_body_temp_path $PWD/body; proxy_temp_path $PWD/proxy; fastcgi_temp_path $PWD/f; uwsgi_temp_path $PWD/u; scgi_temp_path $PWD/s;
		server {
			listen 127.0.0.1:18443 ssl http2;
			ssl_certificate $PWD/cert.crt; ssl_certificate_key $PWD/cert.key;
			ssl_client_certificate $PWD/ca.crt; ssl_verify_client on;
			location / { proxy_pass http://$REGISTRY; proxy_set_header Host \$http_host; proxy_set_header X-Forwarded-Proto https; }
		}
		server {
			listen 127.0.0.1:18080;
			resolver 127.0.0.1;
			location / { proxy_pass http://$REGISTRY; proxy_set_header Host \$http_host; }
		}
	}
	END
	background nginx -c "$PWD/nginx.conf" -e "$PWD/error.log"
	until_true 10 curl -s -o /dev/null http://127.0.0.1:18080/
	cd ..
}

@test "client certificates, HTTP/2, a proxy" {
	registry_start r
	fill busybox
	front_start
	try "$HOY_BIN/hoy-image" copy -q --src-tls-verify=false --dest-cert-dir front/certs "docker://$REGISTRY/busybox" docker://localhost:18443/mine/busybox
	assert_success
	try "$HOY_BIN/hoy-image" copy -q --src-cert-dir front/certs docker://localhost:18443/mine/busybox dir:d
	assert_success
	grep -q 'PUT /v2/mine/busybox/.* HTTP/2.0" 201' front/access.log || show 'it was not HTTP/2'
	mkdir no-client
	cp front/certs/ca.crt no-client/
	try "$HOY_BIN/hoy-image" inspect --cert-dir no-client docker://localhost:18443/mine/busybox
	assert_error 'localhost:18443' 1
	rm front/certs/client.key
	try "$HOY_BIN/hoy-image" inspect --cert-dir front/certs docker://localhost:18443/mine/busybox
	assert_error "has no key" 1

	: >front/access.log
	for variable in http_proxy HTTP_PROXY; do
		try env $variable=http://127.0.0.1:18080 "$HOY_BIN/hoy-image" inspect --tls-verify=false --format '{{.Name}}' docker://registry.example:5000/busybox
		assert_stdout registry.example:5000/busybox
	done
	[[ $(grep -c '/v2/busybox/manifests/latest HTTP/1.1" 200' front/access.log) == 2 ]] || { cat front/access.log; show 'not by the proxy'; }
	: >front/access.log
	# This machine is asked without it, as podman does; and who is in no_proxy.
	try env HTTP_PROXY=http://127.0.0.1:18080 "$HOY_BIN/hoy-image" inspect --tls-verify=false --format '{{.Name}}' "docker://$REGISTRY/busybox"
	assert_stdout "$REGISTRY/busybox"
	try env HTTP_PROXY=http://127.0.0.1:18080 no_proxy=.example "$HOY_BIN/hoy-image" inspect --tls-verify=false --retry-times 0 docker://registry.example:5000/busybox
	assert_status 1
	[[ ! -s front/access.log ]] || { cat front/access.log; show 'the proxy was asked'; }
}

@test "the same layers become the same bytes, whenever they are packed" {
	have_image debian
	have_image busybox
	for format in gzip zstd; do
		for image in debian busybox; do
			for _ in 1 2 3; do
				hoy push -q --compression-format "$format" "$image" oci:layout:x
				jq -r '.manifests[0].digest' layout/index.json
				rm -rf layout
			done >digests
			[[ $(sort -u digests | wc -l) == 1 && $(wc -l <digests) == 3 ]]
		done
	done
}
