package input

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"strings"

	"kustospool/ingest/content"
)

// Archive reports whether the input is a zip archive. The engine takes in all
// of its files or none.
func (s *Source) Archive() bool {
	return s.Name != Stdin && strings.HasSuffix(strings.ToLower(s.Name), ".zip")
}

// checkArchive is Check of an archive: each of its files is read to its end,
// as Check reads a file, so that nothing of a bad one is stored.
func (s *Source) checkArchive() (Extent, error) {
	if s.SkipHeader {
		return Extent{}, &Error{File: s.Name, Err: errors.New("no header line can be dropped from the files of an archive; unpack it first")}
	}
	z, err := zip.OpenReader(s.Name)
	if err != nil {
		return Extent{}, &Error{File: s.Name, Err: fmt.Errorf("is not a zip archive: %w", cause(err))}
	}
	x, err := s.checkMembers(z.File)
	if closeErr := z.Close(); closeErr != nil {
		err = errors.Join(err, &Error{File: s.Name, Err: cause(closeErr)})
	}
	if err == nil && x.Records == 0 {
		err = &Error{File: s.Name, Err: errors.New("holds no record")}
	}
	return x, err
}

func (s *Source) checkMembers(files []*zip.File) (Extent, error) {
	var sum Extent
	for _, f := range files {
		if why := content.PassedOver(f.Name); why != "" {
			if why != "directory" {
				sum.PassedOver = append(sum.PassedOver, fmt.Sprintf("%s/%s (%s)", s.Name, f.Name, why))
			}
			continue
		}
		x, err := s.checkMember(f)
		if err != nil {
			return Extent{}, err
		}
		sum.Records += x.Records
		sum.Bytes += x.Bytes
		sum.Blank += x.Blank
	}
	return sum, nil
}

func (s *Source) checkMember(f *zip.File) (Extent, error) {
	name := s.Name + "/" + f.Name
	r, err := f.Open()
	if err != nil {
		return Extent{}, &Error{File: name, Err: err}
	}
	b := &contents{name: name, r: content.NewReader(r, s.Format), closers: []io.Closer{r}}
	if s.Whole() {
		return s.wholeExtent(name, b)
	}
	return s.read(name, b, b).extent()
}
