package gs1

import "fmt"

// Date reads a date of six digits, YYMMDD, as YYYY-MM-DD: the year that is nearest to
// the given one, at most 49 years before it and 50 after (General Specifications
// 7.12), and for day 00 the last day of the month.
func Date(yymmdd string, year int) (string, error) {
	if len(yymmdd) != 6 || !allDigits(yymmdd) {
		return "", fmt.Errorf("date: %w", ErrDate)
	}
	yy := int(yymmdd[0]-'0')*10 + int(yymmdd[1]-'0')
	y := year - year%100 + yy
	switch diff := yy - year%100; {
	case diff >= 51:
		y -= 100
	case diff <= -50:
		y += 100
	}
	date8 := fmt.Sprintf("%04d%s", y, yymmdd[2:])
	if y < 1 || y > 9999 || date(date8, true) != nil {
		return "", fmt.Errorf("date: %w", ErrDate)
	}
	day := date8[6:]
	for last := 31; day == "00"; last-- {
		if d := fmt.Sprint(last); date(date8[:6]+d, false) == nil {
			day = d
		}
	}
	return date8[:4] + "-" + date8[4:6] + "-" + day, nil
}
