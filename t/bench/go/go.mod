module cameras

go 1.19
