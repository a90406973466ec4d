#!/usr/bin/env bash
# Makes the fonts of this folder from Debian's fonts-noto-core (20201225): without
# hinting, which print does not need, and without what no name or label has. Needs
# python3-fonttools as well.
set -euo pipefail
cd "$(dirname "$0")"
noto=/usr/share/fonts/truetype/noto

cut() { # font, characters, layout features
	/usr/bin/python3 -m fontTools.subset "$noto/$1.ttf" --unicodes="$2" --layout-features="$3" --no-hinting \
		--name-IDs=0,1,2,5,6,7,13,14 --drop-tables+=FFTM,STAT --output-file="$1.ttf"
	gzip -9nf "$1.ttf"
}

# Latin, Greek, Cyrillic, and the signs that all scripts use.
cut NotoSans-Regular '0020-007E,00A0-024F,0259,02B0-0377,037A-03FF,0400-052F,1E00-1FFF,2000-206F,2070-209C,20A0-20BF,2100-214F,2190-2193,2212,2260-2265,25CC,A640-A69F,A720-A7FF,FB00-FB06,FFFD' ccmp,locl,mark,mkmk,kern
cut NotoSans-Bold '0020-007E,00A0-024F,0300-036F,0370-03FF,0400-04FF,1E00-1EFF,2000-206F,20A0-20BF,2116,2122,25CC' ccmp,locl,mark,mkmk,kern
cut NotoSansArabic-Regular '*' '*'
cut NotoSansArabic-Bold '0020-007E,00A0-00FF,0600-06FF,200C-200F,2010-2027,25CC' '*'
for script in Armenian Bengali Devanagari Ethiopic Georgian Gujarati Gurmukhi Hebrew Kannada Khmer Lao Malayalam Myanmar Sinhala Tamil Telugu Thai; do
	cut "NotoSans$script-Regular" '*' '*'
done
