package store_test

func runChild() {}
