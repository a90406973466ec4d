#!/bin/bash
# Makes a release in dist/: release.sh VERSION SECONDS
#
# SECONDS since 1970 is the time of every file in it. The pages must have been built
# (make build). The same version and time give the same SHA256SUMS, on any machine
# with the Go release that go.mod names and the same pages.
set -euo pipefail
version=$1
export SOURCE_DATE_EPOCH=$2 CGO_ENABLED=0 GOOS=linux TZ=UTC LC_ALL=C
[[ $version =~ ^[A-Za-z0-9][A-Za-z0-9._+-]*$ ]] || { echo "version $version cannot stand in a name" >&2; exit 1; }
[ -f web/dist/pages/verifier/index.html.br ] || { echo "the pages are not built: make build" >&2; exit 1; }
architectures=${ARCHITECTURES:-amd64 arm64}

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
rm -rf dist
mkdir dist

compile() { # FOLDER ARCHITECTURE OUT
	(cd "$1" && GOARCH=$2 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$version" -o "$3" ./cmd/ampoule)
}

# The sources elsewhere, under another name, for the second build.
mkdir "$work/elsewhere"
tar -c --exclude=node_modules --exclude=./dist --exclude=./bin --exclude=./.cache --exclude=./.git . | tar -x -C "$work/elsewhere"

for arch in $architectures; do
	name=ampoule-$version-linux-$arch
	tree=$work/$name
	mkdir -p "$tree/share/ampoule" "$tree/share/doc/ampoule"
	compile . "$arch" "$tree/ampoule"
	GOCACHE=$work/cache compile "$work/elsewhere" "$arch" "$work/second"
	cmp "$tree/ampoule" "$work/second" || { echo "$arch: two builds differ" >&2; exit 1; }
	if readelf -lW "$tree/ampoule" 2>/dev/null | grep -q INTERP; then
		echo "$arch: the binary is not static" >&2; exit 1
	fi

	cp -r deploy/systemd deploy/prometheus deploy/container deploy/ampoule.toml "$tree/share/ampoule/"
	cp -r docs/ops "$tree/share/doc/ampoule/"
	cp LICENSE NOTICE README.md CHANGELOG.md SECURITY.md "$tree/"
	GOOS= GOARCH= go run ./deploy/sbom -version "$version" -lock web/package-lock.json "$tree/ampoule" >"$tree/sbom.cdx.json"
	cp "$tree/sbom.cdx.json" "dist/$name.cdx.json"
	chmod -R u=rwX,go=rX "$tree"
	tar -c --format=gnu --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$work" "$name" | gzip -n -9 >"dist/$name.tar.gz"
	echo "$name: $(stat -c %s "$tree/ampoule") bytes, twice the same"
done
(cd dist && sha256sum -- * >SHA256SUMS)
if [ -n "${SIGN_KEY:-}" ]; then
	ssh-keygen -Y sign -n ampoule -f "$SIGN_KEY" dist/SHA256SUMS
fi
cat dist/SHA256SUMS
