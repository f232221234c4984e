package main

import (
	"strconv"
	"time"
)

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()

// Writer makes the lines of one pod, about 120 bytes each with their times.
type Writer struct {
	set    Settings
	pod    int
	second int64
	date   []byte
}

func (w *Writer) instant(number int) int64 {
	return began + int64(w.pod)*11_003 + int64(number)*int64(w.set.StepUS)*1000
}

// after returns the number of the first line at or after a time.
func (w *Writer) after(instant int64) int {
	step := int64(w.set.StepUS) * 1000
	first := (instant - w.instant(0) + step - 1) / step
	return int(min(max(first, 0), int64(w.set.Lines)))
}

// append writes lines first to end-1, each as the kubelet does: its time, a space, and what the rank wrote.
func (w *Writer) append(buf []byte, first, end int, stamped bool) []byte {
	for number := first; number < end; number++ {
		if stamped {
			buf = append(w.stamp(buf, w.instant(number)), ' ')
		}
		buf = append(buf, "[a1 r"...)
		buf = strconv.AppendInt(buf, int64(w.pod*w.set.Ranks+number%w.set.Ranks), 10)
		buf = append(buf, "] INFO step="...)
		buf = padded(buf, int64(number), 8)
		buf = append(buf, " loss=2.345678 top1=0.71234 lr=0.1 img/s=12345.6 eta=01:02:03 x\n"...)
	}
	return buf
}

func (w *Writer) stamp(buf []byte, instant int64) []byte {
	second, nano := instant/1e9, instant%1e9
	if second != w.second || w.date == nil {
		w.second = second
		w.date = time.Unix(second, 0).UTC().AppendFormat(w.date[:0], "2006-01-02T15:04:05.")
	}
	return append(padded(append(buf, w.date...), nano, 9), 'Z')
}

func padded(buf []byte, value int64, digits int) []byte {
	for range make([]struct{}, digits) {
		buf = append(buf, '0')
	}
	for at := len(buf) - 1; value > 0; at-- {
		buf[at] = byte('0' + value%10)
		value /= 10
	}
	return buf
}
